"""Open-loop loads: latencies count from the time a request was due."""

import csv
import subprocess
from pathlib import Path

import pytest

from tools.bench.load import vegeta
from tools.bench.load.vegeta import Shot, attack, shots, summarised
from tools.bench.load.wrk import LoadFailed


def row(sent_ms: int, status: int, latency_ms: int, number: int) -> list[str]:
    # Columns of `vegeta encode --to=csv`: time, status, latency, ..., number.
    return [
        str(sent_ms * 10**6),
        str(status),
        str(latency_ms * 10**6),
        "",
        "",
        "",
        "",
        "",
        str(number),
    ]


def test_a_request_that_was_sent_late_is_slow_by_that_delay():
    # Two requests a second; the generator was stuck for 800 ms before the third.
    rows = [row(5_000, 200, 10, 0), row(5_500, 200, 10, 1), row(6_800, 200, 10, 2)]

    found = summarised(shots(rows, 2.0), 2.0)

    assert dict(found.percentiles_s)[99.9] == pytest.approx(0.81)
    assert dict(found.percentiles_s)[50.0] == pytest.approx(0.01)
    assert found.lag_s == pytest.approx(0.8)


def test_rows_may_come_in_any_order():
    rows = [row(6_000, 200, 10, 2), row(5_000, 200, 20, 0), row(5_500, 503, 5, 1)]

    found = shots(rows, 2.0)

    assert [one.status for one in found] == [200, 200, 503]
    assert [one.due_s for one in found] == pytest.approx([1.0, 0.0, 0.5])
    assert [one.sent_s for one in found] == pytest.approx([1.0, 0.0, 0.5])
    assert [one.answered_s for one in found] == pytest.approx([1.01, 0.02, 0.505])


def test_refusals_and_failures_are_no_latencies():
    found = summarised(
        [Shot(0.0, 0.0, 0.1, 200), Shot(0.5, 0.6, 0.61, 503), Shot(1.0, 1.0, 9.0, 0)], 2.0
    )

    assert (found.sent, found.answered, found.refused, found.failed) == (3, 1, 1, 1)
    assert found.refused_s == pytest.approx(0.01)
    assert dict(found.percentiles_s)[99.9] == pytest.approx(0.1)
    assert found.per_s == pytest.approx(1 / 1.5)


def test_a_load_without_responses_has_no_latency():
    assert dict(summarised([], 10.0).percentiles_s) == {50.0: 0.0, 99.0: 0.0, 99.9: 0.0}


def test_a_missing_generator_is_reported_with_the_way_to_install_it(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GOBIN", str(tmp_path))

    with pytest.raises(LoadFailed, match="go install"):
        attack("http://127.0.0.1:1/", 1.0, 1.0, b"")


def test_the_generator_sends_body_and_key_at_the_rate(monkeypatch):
    commands = []

    def run(command, *, input, **_):
        commands.append((command, input))
        for argument in command:
            if argument.startswith("--output="):
                with open(argument.partition("=")[2], "w", encoding="utf-8") as file:
                    csv.writer(file).writerow(row(0, 200, 1, 0))

    monkeypatch.setattr(vegeta, "program", lambda: "vegeta")
    monkeypatch.setattr(subprocess, "run", run)

    load, _ = attack("http://127.0.0.1:1/echo", 1_500.0, 4.0, b"x" * 200, "a-key")

    assert load.answered == 1
    (command, target), _ = commands
    assert {"-rate=1500/1s", "-duration=4s", "-max-workers=500"} <= set(command)
    assert target.startswith("POST http://127.0.0.1:1/echo\nContent-Type: text/plain\n")
    assert "Authorization: Bearer a-key\n@" in target
