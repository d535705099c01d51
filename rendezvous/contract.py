"""
THE WIRE CONTRACT: what a request record and a reply record carry.

Standard library only: a responder in another repository needs this file, ``reply.py``,
``errors.py``, ``reply_headers.py`` and ``framework_*.py``. All headers are UTF-8 text and none is
null.

Request record
    key      the route's record key, or none at all if the route has key = "none"; else one that
             default partitioners map to the partition that the waiting gateway reads, if it reads
             one; else the correlation id
    value    the body of the HTTP request, byte for byte
    headers  correlation-id, reply-topic, deadline (Unix time, ms), method, path, query,
             path.<name> for each parameter in the path,
             reply-partition (digits) if the waiting gateway reads one,
             client (its name) if the gateway requires an API key or a token,
             content-type and content-encoding if the request has them, x-request-id, traceparent
             and tracestate if they are valid, and the HTTP headers that the route forwards

Reply record, sent to the topic that ``reply-topic`` names, in the partition that
``reply-partition`` names or with the key of the request; elsewhere it arrives a little later
    value    the body of the HTTP response, byte for byte
    headers  correlation-id (the request's, byte for byte), status (200-599, default 200),
             content-type, and the HTTP headers that reply_headers.py allows

The id and the reply topic are repeated under the names that other frameworks read, and a reply can
have the id under any of them. The reply partition is not: Spring and NestJS encode it differently
under one name.
"""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from rendezvous.framework_replies import DEAD_LETTER_HEADERS
from rendezvous.framework_requests import (
    DEADLINE,
    FRAMEWORK_HEADERS,
    ID_HEADERS,
    NEST_PARTITION,
    REPLY_PARTITION,
    REPLY_TOPIC_HEADERS,
    ForeignRequester,
    deadline_in,
    digest_of,
    id_in,
    partition_in,
    quarkus_partition,
    reply_topic_in,
    requester_in,
)

# Handlers import these from here.
from rendezvous.reply import CONTENT_TYPE as CONTENT_TYPE
from rendezvous.reply import STATUS as STATUS
from rendezvous.reply import Outcome as Outcome
from rendezvous.reply import Reply as Reply
from rendezvous.reply_headers import Headers as Headers
from rendezvous.reply_headers import text_headers

METHOD = "method"
PATH = "path"
QUERY = "query"
#: Begins the header of each parameter in the path. No HTTP header that is copied has a dot.
PATH_PARAMETER = "path."
#: The deadline of a request that no client waits for; it has no reply topic.
NO_DEADLINE_MS = 9_999_999_999_999
CLIENT = "client"

#: Format of the correlation ids that gateways issue; see correlation.py.
GATEWAY_ID = re.compile(
    r"[0-9a-f]{8}\.[0-9]{13}(?:-[0-9]{1,7})?\.[A-Za-z0-9_-]{22}(?:[A-Za-z0-9_-]{11})?"
    r"\.[A-Za-z0-9_-]{43}",
    re.ASCII,
)

_OWN_HEADERS = (DEADLINE, METHOD, PATH, QUERY, CLIENT, STATUS, CONTENT_TYPE)
#: Headers of a request record that an HTTP client must not set, in lower case.
RESERVED_HEADERS = frozenset(
    map(str.lower, (*FRAMEWORK_HEADERS, *_OWN_HEADERS, *DEAD_LETTER_HEADERS))
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a responder."""

    correlation_id: str
    topic: str
    reply_topic: str  # empty: no reply is sent
    deadline_ms: int  # Unix time in ms; after it the client has stopped waiting
    body: bytes = b""
    content_type: str | None = None
    method: str = "POST"
    path: str = "/"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    key: bytes | None = None
    reply_partition: int | None = None  # of the reply topic, which the waiting gateway reads
    reply_key: bytes | None = None  # of the record if *key* is None; maps to reply_partition
    client: str | None = None  # the name of the HTTP client; None if it is unknown
    is_keyless: bool = False  # whether the record has no key
    is_stream: bool = False  # whether the last of several values is the reply, as in NestJS
    is_for_quarkus: bool = False  # whether the reply partition is written for Quarkus too
    requester: ForeignRequester | None = None  # None: a gateway
    sent_ms: int | None = None  # timestamp of the record (Unix time in ms), if it has one

    def json(self) -> Any:
        """Return the body parsed as JSON; raise ValueError when it is not JSON."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("the JSON is nested too deeply") from error

    def header(self, name: str) -> str | None:
        """Return the first header *name*, in any case, or None."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    @property
    def path_parameters(self) -> dict[str, str]:
        """The parameters in the path, by their names in the route."""
        size = len(PATH_PARAMETER)
        return {n[size:]: value for n, value in self.headers if n.startswith(PATH_PARAMETER)}

    @property
    def query_parameters(self) -> dict[str, list[str]]:
        """The values of each parameter in the query."""
        return parse_qs(self.query, keep_blank_values=True)

    def encode(self) -> tuple[bytes | None, bytes, list[tuple[str, bytes]]]:
        """Return key, value and headers of the request record."""
        cid, reply_topic = self.correlation_id.encode(), self.reply_topic.encode()
        if self.requester is None:
            headers = [(name, cid) for name in ID_HEADERS]
        else:
            headers = list(self.requester.id_headers)
        headers += [(name, reply_topic) for name in REPLY_TOPIC_HEADERS if reply_topic]
        headers.append((DEADLINE, b"%d" % self.deadline_ms))
        if self.reply_partition is not None:
            headers.append((REPLY_PARTITION, b"%d" % self.reply_partition))
        if self.is_for_quarkus:
            headers += quarkus_partition(self.reply_partition)
        if self.is_stream:  # in one partition they keep their order
            headers.append((NEST_PARTITION, b"%d" % (self.reply_partition or 0)))
        if self.content_type is not None:
            headers.append((CONTENT_TYPE, self.content_type.encode()))
        headers += [
            (METHOD, self.method.encode()),
            (PATH, self.path.encode()),
            (QUERY, self.query.encode()),
        ]
        if self.client is not None:
            headers.append((CLIENT, self.client.encode()))
        headers += [(name, value.encode()) for name, value in self.headers]
        return (None if self.is_keyless else self._key(cid)), self.body, headers

    def _key(self, default: bytes) -> bytes:
        key = self.key if self.key is not None else self.reply_key
        return default if key is None else key

    @property
    def journal_id(self) -> str:
        """Text that each delivery of this request has, and no other request."""
        if self.requester is None and GATEWAY_ID.fullmatch(self.correlation_id):
            return self.correlation_id
        # The ids of other services may repeat, also if they write the same headers as a gateway.
        place = (self.topic, self.reply_topic, self.reply_partition)
        return digest_of(self.correlation_id, self.sent_ms, *place, self.key, self.body)

    @classmethod
    def decode(
        cls,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        *,
        sent_ms: int | None = None,
        default_deadline_ms: int | None = None,
    ) -> "Request":
        """
        Return the request in a record of *topic*.

        Args:
            sent_ms: timestamp of the record (Unix time in ms), if it has one.
            default_deadline_ms: the deadline of a request that names none; None to refuse it.

        Raises:
            MalformedRecord: when it has no single correlation id, reply topic or deadline.
        """
        text = text_headers(headers)
        known = {name: values[-1] for name, values in text.items()}
        last = dict(headers)
        deadline_ms = deadline_in(last, default_deadline_ms)
        correlation_id, id_headers = id_in(headers)
        reply_topic = reply_topic_in(text, can_miss=deadline_ms == NO_DEADLINE_MS)
        requester = requester_in(last, correlation_id, id_headers)
        return cls(
            correlation_id=correlation_id,
            topic=topic,
            reply_topic=reply_topic,
            deadline_ms=deadline_ms,
            body=value or b"",
            content_type=known.get(CONTENT_TYPE),
            method=known.get(METHOD, "POST"),
            path=known.get(PATH, "/"),
            query=known.get(QUERY, ""),
            headers=tuple(
                (name, v)
                for name, vs in text.items()
                for v in vs
                if name.lower() not in RESERVED_HEADERS
            ),
            key=key,
            reply_partition=partition_in(last),
            # Only a gateway knows who the client is.
            client=known.get(CLIENT) if requester is None else None,
            requester=requester,
            sent_ms=sent_ms,
        )
