"""
Fuzz one decoder with atheris for a number of seconds.

Fails with the input when a decoder raises anything but an error of the contract. The corpus starts
with SEEDS and is not kept.
"""

import argparse
import contextlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

warnings.simplefilter("ignore", DeprecationWarning)
with atheris.instrument_imports(include=["rendezvous.contract", "rendezvous.correlation", "json"]):
    from rendezvous.contract import Outcome, Reply, Request
    from rendezvous.correlation import CorrelationIds
    from rendezvous.errors import ForeignCorrelationId, MalformedRecord, UnusableReply

IDS = CorrelationIds("a secret of the fuzzer")
#: Separators of headers, and of name and value: they encode a record as bytes.
HEADER_SEPARATOR, VALUE_SEPARATOR = b"\x1e", b"\x1f"
NULL = b"\x00null"


def record_of(data: bytes) -> tuple[bytes | None, list[tuple[str, bytes | None]]]:
    """Decode *data* into the value and headers of a record."""
    value, *headers = data.split(HEADER_SEPARATOR)
    named = (header.partition(VALUE_SEPARATOR) for header in headers)
    return (
        None if value == NULL else value,
        [(n.decode("utf-8", "replace"), None if v == NULL else v) for n, _, v in named],
    )


def check_request(data: bytes) -> None:
    """Any input is malformed or a request that survives encoding."""
    value, headers = record_of(data)
    with contextlib.suppress(MalformedRecord):
        request = Request.decode("orders", None, value, headers)
        key, body, written = request.encode()
        again = Request.decode("orders", key, body, written)
        assert (again.correlation_id, again.body) == (request.correlation_id, request.body)
        assert 0 <= request.deadline_ms / 1000 < 10**12
        with contextlib.suppress(ValueError):
            request.json()


def check_reply(data: bytes) -> None:
    """Any input is malformed, unusable or a reply that fits into HTTP."""
    value, headers = record_of(data)
    with contextlib.suppress(MalformedRecord):
        try:
            reply = Reply.decode(value, headers)
        except UnusableReply as error:
            reply = Reply.unusable(error)
        assert reply.outcome is not Outcome.ANSWERED or reply.fits_http()
        for name, text in reply.headers:
            assert not set(name + text) & set("\r\n\0"), reply
        if reply.outcome is Outcome.ANSWERED:
            assert Reply.decode(*reply.encode()) == reply


def check_id(data: bytes) -> None:
    """Any input is rejected unless it was issued here."""
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ForeignCorrelationId):
        assert IDS.read(text).text in ISSUED


ISSUED = {IDS.issue("0a1b2c3d", 1_700_000_000_000), IDS.issue("ffffffff", 0)}
DECODERS: dict[str, Callable[[bytes], None]] = {
    "request": check_request,
    "reply": check_reply,
    "id": check_id,
}


def record(value: bytes, *headers: tuple[bytes, bytes]) -> bytes:
    """Encode a record; the inverse of record_of()."""
    return HEADER_SEPARATOR.join(
        [value, *(name + VALUE_SEPARATOR + content for name, content in headers)]
    )


ID = (b"correlation-id", b"the-id")
SEEDS: dict[str, list[bytes]] = {
    "request": [
        record(b'{"a": [1]}', ID, (b"reply-topic", b"replies"), (b"deadline", b"1700000000000")),
        record(NULL, (b"kafka_correlationId", b"i"), (b"kafka_replyTopic", b"r"),
               (b"deadline", b"1"), (b"method", b"PUT"), (b"path", "/ä".encode()),
               (b"query", b"a=1"), (b"x-a", b"1")),
        record(b"", (b"REPLY_CORRELATION_ID", b"i"), (b"REPLY_TOPIC", b"r"), (b"deadline", NULL)),
        record(b"", (b"correlation_id", b"i"), (b"reply_to", b"r"), (b"deadline", b"-9")),
    ],
    "reply": [
        record(b"body", ID, (b"status", b"201"), (b"content-type", b"text/plain"), (b"x-a", b"1")),
        record(NULL, (b"kafka_correlationId", b"i"), (b"kafka_nest-err", b"no stock")),
        record(NULL, ID, (b"kafka_nest-err", b'{"statusCode": 404}'), (b"contentType", b'"a/b"')),
        record(b"x", ID, (b"reply_to", b"r"), (b"kafka_dlt-exception-fqcn", b"java.lang.E")),
        record(b"x", ID, (b"status", b'"201 CREATED"'), (b"contentType", b'"a/b"')),
        record(b"", ID, (b"REPLY_ERROR", b"no"), (b"rig-response-code", b"404")),
        record(b"", ID, (b"_watermill_requestreply_has_error", b"1"), (b":status", b"599")),
        record(b"", ID, (b"location", b"http://user:pw@[::1]:80/a?b#c"), (b"etag", b'"1"')),
    ],
    "id": [*(text.encode() for text in ISSUED), b"0a1b2c3d.1700000000000.A.B", b"..."],
}  # fmt: skip


def main() -> None:
    """Fuzz the decoder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("decoder", choices=DECODERS)
    parser.add_argument("seconds", type=int, help="how long to fuzz it")
    given = parser.parse_args()
    name, seconds = given.decoder, given.seconds
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            "-max_len=4096",
            "-timeout=10",
            "-print_final_stats=1",
            f"-artifact_prefix={tempfile.gettempdir()}/",
        ]
        atheris.Setup([sys.argv[0], *options, corpus], DECODERS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
