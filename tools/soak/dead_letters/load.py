"""Clients that send numbered requests, and a producer of records that are no requests."""

import http.client
import itertools
import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from tools.devstack.ports import LOOPBACK
from tools.soak.dead_letters.fates import KEYS
from tools.soak.load.tasks import PATH, TOPIC

CLIENTS = 16
CLIENT_TIMEOUT_S = 15.0
#: Records per second that are no requests.
MALFORMED_PER_S = 2.0
#: Their headers, in turns.
MALFORMED: Sequence[list[tuple[str, bytes]]] = (
    [],
    [("correlation-id", b"a"), ("correlation-id", b"b"), ("reply-topic", b"replies")],
    [("correlation-id", b"a"), ("reply-topic", b"replies"), ("deadline", b"soon")],
    [("correlation-id", b"a"), ("reply-topic", b"no/topic")],
    [("correlation-id", b"a"), ("reply-topic", b"forbidden")],
)


@dataclass(frozen=True)
class Response:
    """What a client got: the title of a problem, or ""."""

    number: int
    correlation_id: str
    status: int
    title: str


class Load:
    """
    Clients and producer in threads of this process.

    Args:
        ports: of the gateways.
        connection: connection arguments of kafka-python's clients.
        per_s: requests per second of all clients.
    """

    def __init__(self, ports: Sequence[int], connection: Mapping[str, Any], per_s: float) -> None:
        self._ports = ports
        self._connection = connection
        self._pause_s = CLIENTS / per_s
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._produce, name="malformed")]
        self._threads += [
            threading.Thread(target=self._send, args=(index,)) for index in range(CLIENTS)
        ]
        self.responses: list[Response] = []
        self.unanswered = 0  # requests without a complete response

    def start(self) -> None:
        """Start sending."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop sending; return once each pending request has its response."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, index: int) -> None:
        self._stop.wait(self._pause_s * index / CLIENTS)
        while not self._stop.is_set():
            due_s = time.monotonic() + self._pause_s
            port = self._ports[index % len(self._ports)]
            try:
                self.responses.append(self._exchange(port, next(self._numbers)))
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
            self._stop.wait(max(0.0, due_s - time.monotonic()))

    def _exchange(self, port: int, number: int) -> Response:
        headers = {"X-Key": f"key-{number % KEYS}", "Content-Type": "text/plain"}
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=CLIENT_TIMEOUT_S)
        with closing(connection):
            connection.request("POST", PATH, b"%d" % number, headers)
            received = connection.getresponse()
            body = received.read()
        title = ""
        if received.status != 200:
            with suppress(ValueError):
                title = str(json.loads(body).get("title", ""))
        cid = received.headers.get("X-Correlation-ID", "")
        return Response(number, cid, received.status, title)

    def _produce(self) -> None:
        with closing(KafkaProducer(**self._connection, max_block_ms=2_000)) as producer:
            for number in itertools.count():
                if self._stop.wait(1 / MALFORMED_PER_S):
                    return
                headers = MALFORMED[number % len(MALFORMED)]
                with suppress(KafkaError):
                    key = b"key-%d" % (number % KEYS)
                    producer.send(TOPIC, b"not a request", key=key, headers=list(headers))
