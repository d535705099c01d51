"""Two setups compared: order, ratios and the report."""

from pathlib import Path

import pytest

from tools.bench.cases import BASE, cases_named
from tools.bench.experiments import comparison, pair
from tools.bench.experiments.pair import Ratio, ratio, table
from tools.bench.load.latencies import PERCENTILES
from tools.bench.measure.result import Load, Result
from tools.bench.report.summary import per_s
from tools.bench.setup import Setup

CASE = cases_named([BASE])[0]
THIS, OTHER = "this", "other"


def result(name: str, number: int, requests: int) -> Result:
    load = Load(requests, 2.0, [(percent, 0.01) for percent in PERCENTILES])
    return Result(
        name, CASE, number, load, {"web": 0.5, "replies": 0.1, "responder": 0.2}, {"mget": 1}
    )


#: The machine was twice as slow in the second round.
RESULTS = [
    result(THIS, 1, 220),
    result(OTHER, 1, 200),
    result(OTHER, 2, 100),
    result(THIS, 2, 130),
    result(THIS, 3, 240),
    result(OTHER, 3, 200),
]


def test_ratios_are_computed_within_rounds():
    found = ratio(RESULTS, per_s)

    assert found.median == pytest.approx(1.2)
    assert found.error == pytest.approx(0.1 / 3**0.5)
    assert str(found) == "x 1.200 +-0.058"


def test_a_single_round_has_no_standard_error():
    assert str(Ratio.of([1.5])) == "x 1.500 +-nan"


def test_the_report_has_medians_ratio_and_failures_of_each_case():
    lines = list(table(RESULTS))

    (rate,) = [line for line in lines if "requests/s" in line]
    assert rate.split() == ["requests/s", "110.00", "100.00", "x", "1.200", "+-0.058"]
    assert any(line.startswith("\nc64: 64 connections") for line in lines)
    assert lines[-1].split() == ["failed", "requests", "0", "0"]


class FakeSubject:
    """Records what is measured, in order."""

    measured: list[tuple[str, Path | None, int]]

    def __init__(self, servers: object, setup: Setup) -> None:
        self._setup = setup

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def measure(self, case: object, seconds: float, number: int) -> Result:
        self.measured.append((self._setup.name, self._setup.tree, number))
        return result(self._setup.name, number, 100)


def test_the_order_alternates_and_only_the_other_tree_is_elsewhere(monkeypatch: pytest.MonkeyPatch):
    FakeSubject.measured = []
    monkeypatch.setattr(comparison, "Subject", FakeSubject)
    tree = Path("elsewhere")

    setups = {THIS: Setup("ours"), OTHER: Setup("ours", tree=tree)}
    pair.measure(None, setups, [CASE], 2, 0.0)  # type: ignore[arg-type]

    assert FakeSubject.measured == [
        (THIS, None, 1),
        (OTHER, tree, 1),
        (OTHER, tree, 2),
        (THIS, None, 2),
    ]
