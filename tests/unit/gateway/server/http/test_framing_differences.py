"""No stream is delimited differently from h11 and llhttp; the test notices when one is."""

import re
from collections import Counter
from typing import Any

import pytest
from waitress.parser import HTTPRequestParser
from waitress.utilities import BadRequest

from gateway.server.http import chunked_body
from gateway.server.http.parser import RequestParser
from tests.framing.differences import differences
from tests.framing.streams import stream

STREAMS = 2_000


class Waitress(HTTPRequestParser):  # type: ignore[misc]
    """waitress's parser, except that no exception escapes."""

    head_complete = False
    received_bytes = 0
    body_unread = False
    has_slot = True
    command = request_uri = path = query = ""

    def __init__(self, adj: Any, reads_body: Any = None) -> None:
        super().__init__(adj)

    def waited_s(self) -> float:
        return 0.0

    def received(self, data: bytes) -> int:
        try:
            return int(super().received(data))
        except ValueError:
            self.error, self.completed = BadRequest("malformed"), True
            return len(data)


class AnyLength(RequestParser):
    """Takes any Content-Length, also beside Transfer-Encoding."""

    def _check_framing(self, found: list[tuple[bytes, bytes]]) -> None:
        if codings := [each for each in found if each[0] != b"content-length"]:
            super()._check_framing(codings)


def differing(parser_class: type[HTTPRequestParser], streams: int) -> list[str]:
    seen: Counter[str] = Counter()
    found = [
        f"seed {seed}: {difference}"
        for seed in range(streams)
        for difference in differences(stream(seed), seen, parser_class)
    ]
    assert seen["served"] > streams / 2
    assert seen["refused"] > streams / 4
    return found


def test_no_stream_is_delimited_differently():
    assert differing(RequestParser, STREAMS) == []


@pytest.mark.parametrize("broken", [Waitress, AnyLength])
def test_a_parser_that_checks_less_is_noticed(broken):
    assert len(differing(broken, 1_000)) > 5


def test_a_chunk_size_with_a_bare_line_feed_would_be_noticed(monkeypatch):
    lenient = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\r\n]*)?(?:\r\n|\n)")
    monkeypatch.setattr(chunked_body, "_CHUNK_LINE", lenient)

    assert differing(RequestParser, 1_000) != []
