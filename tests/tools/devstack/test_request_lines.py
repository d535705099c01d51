"""The lines of `make run`: readable requests, colours, and the summary."""

import json
import re
from collections import Counter

import pytest

from gateway.server.access_log import ACCESS_LOG_FORMAT
from tools.devstack.request_lines import RequestLines, quantile

CORRELATION_ID = "88c9a34e.1795463864019.6MsL6ewc7iuB1mTThx4J3Q.BZhbt6u_iFQd7rMP45TcbfZdlWdjP"


def line(path="/orders", status=201, ms=12, more=" route=/orders topic=orders sent=yes"):
    return (
        f'127.0.0.1 "POST {path} HTTP/1.1" {status} 5 duration_ms={ms} '
        f"correlation_id={CORRELATION_ID} request_id=- client=-{more}"
    )


@pytest.fixture
def requests():
    return RequestLines(is_coloured=False)


def test_a_request_is_one_aligned_line_that_other_lines_can_be_found_by(requests):
    first = requests.readable(line())
    second = requests.readable(
        line("/echo?a=1", 503, 3001, " route=/echo problem_type=reply-timeout sent=yes")
    )

    known = r"\d\d:\d\d:\d\d POST   /orders +201     12 ms  88c9a34e\.1795463864019\.\S+ sent=yes"
    assert re.fullmatch(known, first)
    assert second.endswith("problem_type=reply-timeout sent=yes")
    assert first.index(" 201 ") == second.index(" 503 ")
    assert first.index(" ms") == second.index(" ms")
    assert CORRELATION_ID not in first
    assert CORRELATION_ID.rpartition(".")[0] in first


@pytest.mark.parametrize("path", ["/livez", "/readyz?local", "/live/figures", "/docs/0/x.css"])
def test_what_pages_and_probes_ask_for_is_shown_only_if_it_fails(requests, path):
    assert requests.readable(line(path, 200)) is None
    assert " 503 " in requests.readable(line(path, 503))


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-27 14:00:00,000 INFO    replies: storing replies",
        "  | Traceback",
        "",
        '127.0.0.1 "GET',
        "{not JSON",
        '{"event": "started"}',
        "[]",
    ],
)
def test_every_other_line_is_as_it_is(requests, text):
    assert requests.readable(text) == text
    assert list(requests.summary()) == []


def test_json_lines_stay_json_and_count(requests):
    event = {"event": "access", "method": "POST", "target": "/echo", "status": 200}
    text = json.dumps(event | {"route": "/echo", "duration_ms": 7, "client": None})

    assert requests.readable(text) == text
    assert list(requests.summary())[1].split() == (
        ["POST", "/echo", "1", "p50", "7", "ms", "p99", "7", "ms", "1", "x", "200"]
    )


def test_only_a_terminal_gets_colours():
    coloured = RequestLines(is_coloured=True)

    assert "\x1b[32m201\x1b[0m" in str(coloured.readable(line()))
    assert "\x1b[31m503\x1b[0m" in str(coloured.readable(line(status=503)))
    warning = "2026-11-27 14:00:00,000 WARNING replies: Redis does not answer"
    assert coloured.readable(warning) == f"\x1b[33m{warning}\x1b[0m"


def test_the_summary_counts_outcomes_and_times_by_route(requests):
    for ms in range(1, 101):
        requests.readable(line(ms=ms))
    requests.readable(line("/echo", 503, 3000, " route=/echo problem_type=reply-timeout sent=yes"))
    requests.readable(line("/nowhere", 404, 1, " problem_type=http"))

    assert [" ".join(text.split()) for text in requests.summary()] == [
        "102 requests; times as the gateway saw them",
        "POST (no route) 1 p50 1 ms p99 1 ms 1 x 404",
        "POST /echo 1 p50 3000 ms p99 3000 ms 1 x 503 reply-timeout",
        "POST /orders 100 p50 50 ms p99 99 ms 100 x 201",
    ]


def test_requests_of_make_run_itself_are_left_out(requests):
    assert (
        requests.readable(line(status=503).replace("request_id=-", "request_id=devstack")) is None
    )
    assert list(requests.summary()) == []


def test_the_access_log_still_has_the_form_that_is_read():
    # Method, path and protocol in quotes, the status, and duration_ms first among the fields.
    pattern = r'%\(h\)s "%\(r\)s" %\(s\)s %\(b\)s duration_ms='
    assert re.match(pattern, ACCESS_LOG_FORMAT)


def test_quantiles_are_values_that_were_seen():
    assert quantile(Counter({1: 99, 500: 1}), 0.99) == 1
    assert quantile(Counter({1: 98, 500: 2}), 0.99) == 500
    assert quantile(Counter(), 0.5) == 0
