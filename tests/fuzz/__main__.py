"""
Feed one reader with bytes that atheris mutates towards new code, for so many seconds.

    python -m tests.fuzz request|reply|id SECONDS

Ends with an error, and the bytes that led to it, when anything but the errors of the contract comes
out. Seeds are in SEEDS; what a run finds it keeps nowhere.
"""

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
#: Header names and values are parted by these, since a record is more than bytes.
BETWEEN, WITHIN = b"\x1e", b"\x1f"
NULL = b"\x00null"


def record_of(data: bytes) -> tuple[bytes | None, list[tuple[str, bytes | None]]]:
    """Read *data* as a value and headers, all of them bytes that a stranger chose."""
    value, *headers = data.split(BETWEEN)
    named = (header.partition(WITHIN) for header in headers)
    return (
        None if value == NULL else value,
        [(n.decode("utf-8", "replace"), None if v == NULL else v) for n, _, v in named],
    )


def read_request(data: bytes) -> None:
    """Whatever comes, it is a request that can be written again, or malformed."""
    value, headers = record_of(data)
    with contextlib.suppress(MalformedRecord):
        request = Request.decode("orders", None, value, headers)
        key, body, written = request.encode()
        again = Request.decode("orders", key, body, written)
        assert (again.correlation_id, again.body) == (request.correlation_id, request.body)
        assert 0 <= request.deadline_ms / 1000 < 10**12
        with contextlib.suppress(ValueError):
            request.json()


def read_reply(data: bytes) -> None:
    """Whatever comes, it is a response, an unhappy ending or malformed."""
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


def read_id(data: bytes) -> None:
    """Whatever comes, it was issued by us, which no fuzzer guesses, or it is refused."""
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ForeignCorrelationId):
        assert IDS.read(text).text in ISSUED


ISSUED = {IDS.issue("0a1b2c3d", 1_700_000_000_000), IDS.issue("ffffffff", 0)}
READERS: dict[str, Callable[[bytes], None]] = {
    "request": read_request,
    "reply": read_reply,
    "id": read_id,
}


def record(value: bytes, *headers: tuple[bytes, bytes]) -> bytes:
    """The opposite of record_of()."""
    return BETWEEN.join([value, *(name + WITHIN + content for name, content in headers)])


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
        record(b"", ID, (b"REPLY_ERROR", b"no"), (b"rig-response-code", b"404")),
        record(b"", ID, (b"_watermill_requestreply_has_error", b"1"), (b":status", b"599")),
        record(b"", ID, (b"location", b"http://user:pw@[::1]:80/a?b#c"), (b"etag", b'"1"')),
    ],
    "id": [*(text.encode() for text in ISSUED), b"0a1b2c3d.1700000000000.A.B", b"..."],
}  # fmt: skip


def main() -> None:
    """Fuzz the reader that the command line names."""
    name, seconds = sys.argv[1], int(sys.argv[2])
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
        # Ends the process.
        atheris.Setup([sys.argv[0], *options, corpus], READERS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
