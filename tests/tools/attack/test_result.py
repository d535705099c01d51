"""Criteria of an attack: which figures pass."""

from dataclasses import replace
from pathlib import Path

import pytest

from tools.attack.report import row
from tools.attack.result import Evidence, Exchange, Phase, Result, read_exchanges

BEFORE, DURING, AFTER = Phase(0, 10), Phase(10, 20), Phase(20, 30)


def exchanges(phase: Phase, number: int, status: int = 200, took_s: float = 0.01):
    step_s = (phase.end_s - phase.begin_s - 1) / number
    return [Exchange(phase.begin_s + n * step_s, took_s, status) for n in range(number)]


def result(probes: list[Exchange], honest: list[Exchange], **changed) -> Result:
    evidence = Evidence(BEFORE, DURING, AFTER, probes, honest)
    return replace(Result("silent", "this", evidence, 1.5, 200_000_000, 0, "", {}), **changed)


GOOD_PROBES = exchanges(DURING, 100)
GOOD_HONEST = exchanges(BEFORE, 100) + exchanges(DURING, 50) + exchanges(AFTER, 100)


def test_half_of_the_rate_and_all_probes_pass():
    good = result(GOOD_PROBES, GOOD_HONEST)

    assert list(good.failures()) == []
    assert good.rates == (10.0, 5.0, 10.0)
    assert good.not_200 == 0
    assert "pass" in row(good)


@pytest.mark.parametrize(("failed", "failures"), [(1, []), (2, ["probes 98.0%"])])
def test_one_probe_in_a_hundred_may_fail(failed: int, failures: list[str]):
    probes = exchanges(DURING, failed, status=0) + exchanges(DURING, 100 - failed)

    assert list(result(probes, GOOD_HONEST).failures()) == failures


def test_a_probe_without_response_counts_as_a_second():
    probes = [*GOOD_PROBES, Exchange(15, 1.0, 0)]

    assert result(probes, GOOD_HONEST).worst_probe_s == 1.0


def test_probes_before_and_after_do_not_count():
    probes = GOOD_PROBES + exchanges(BEFORE, 50, 0) + exchanges(AFTER, 50, 0)

    assert result(probes, GOOD_HONEST).probes_share == 1.0


def test_a_lower_rate_fails_and_errors_do_not_count_as_rate():
    honest = exchanges(BEFORE, 100) + exchanges(DURING, 40) + exchanges(DURING, 60, status=503)

    bad = result(GOOD_PROBES, honest)

    assert list(bad.failures()) == ["rate 40%"]
    assert bad.not_200 == 60


@pytest.mark.parametrize(
    ("changed", "failures"),
    [
        ({"problem": "connection refused"}, ["no answer after"]),
        ({"counts": {"served behind a refusal": 2}}, ["2 served behind a refusal"]),
        ({"counts": {"broken framing accepted": 2}}, ["2 broken framing accepted"]),
        ({"counts": {"attempts": 2}}, []),
    ],
)
def test_silence_afterwards_and_hidden_requests_fail(
    changed: dict[str, object], failures: list[str]
):
    assert list(result(GOOD_PROBES, GOOD_HONEST, **changed).failures()) == failures


def test_no_probe_at_all_fails():
    assert list(result([], GOOD_HONEST).failures()) == ["probes 0.0%"]


def test_the_files_of_observers_are_read(tmp_path: Path):
    file = tmp_path / "prober.txt"
    file.write_text("1.5000 0.2500 200\n2.0000 1.0000 0\n")

    assert read_exchanges(file) == [Exchange(1.5, 0.25, 200), Exchange(2.0, 1.0, 0)]
