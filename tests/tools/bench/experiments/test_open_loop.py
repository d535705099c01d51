"""Latency against rate: up to saturation, with a table and a plot."""

import json

import pytest

from tests.tools.bench.report.test_plots import MACHINE
from tools.bench.experiments import open_loop
from tools.bench.experiments.open_loop import Open, duration_s
from tools.bench.load.vegeta import PERCENTILES, OpenLoad
from tools.bench.report.open_plot import plot
from tools.bench.setup import Setup


def load(rate: float, answered: int, refused: int = 0, latency_s: float = 0.01) -> OpenLoad:
    percentiles = [(percent, latency_s) for percent in PERCENTILES]
    sent = answered + refused
    return OpenLoad(rate, sent, answered, sent / rate, percentiles, refused, 0.004, 0, 0.001)


class FakeSubject:
    """A subject of no processes."""

    url = "http://127.0.0.1:1/echo"

    def __init__(self, servers: object, setup: Setup) -> None:
        self.setup = setup

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start_meter(self):
        return self

    def read(self):
        return self

    cpu_s = {"web": 0.1}  # noqa: RUF012  one reading for all


def test_rates_rise_until_the_subject_is_saturated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(open_loop, "Subject", FakeSubject)
    monkeypatch.setattr(open_loop, "SETTLE_S", 0.0)
    answered = {100.0: 1_000, 1_000.0: 960, 2_000.0: 700, 3_000.0: 700}
    monkeypatch.setattr(
        open_loop,
        "attack",
        lambda url, rate, *_: (load(rate, answered[rate], 1_000 - answered[rate]), 0.05),
    )

    found = open_loop.measure(None, {"shipped": Setup("shipped")}, [*answered], 2, 1.0)  # type: ignore[arg-type]

    rates = [(one.round, one.load.rate_per_s) for one in found]
    assert rates == [(n, rate) for n in (1, 2) for rate in (100, 1_000, 2_000)]
    assert [one.saturated for one in found[:3]] == [False, False, True]


def test_a_slow_rate_lasts_until_its_tail_can_be_seen():
    assert (duration_s(100, 4), duration_s(2_000, 4)) == (10, 4)


FOUND = [
    Open("shipped", 1, load(100, 1_000), {"web": 0.5, "replies": 0.1, "responder": 0.2}),
    Open("shipped", 1, load(500, 900, 100, 0.05), {"web": 0.5, "replies": 0.1, "responder": 0.2}),
    Open("textbook", 1, load(100, 1_000), {"web": 0.5, "replies": 0.1, "responder": 0.2}),
]


def test_the_table_has_a_line_for_each_subject_and_rate():
    lines = [line.split() for line in list(open_loop.table(FOUND))[-3:]]

    assert [line[:2] for line in lines] == [
        ["shipped", "100"],
        ["shipped", "500"],
        ["textbook", "100"],
    ]
    assert lines[0][-5:] == ["0", "1.0", "500", "100", "200"]
    assert lines[1][-6:-4] == ["10.0%", "<4"]


def test_measurements_survive_json():
    assert open_loop.from_json(json.loads(json.dumps(open_loop.as_json(FOUND)))) == FOUND


def test_the_plot_shows_each_subject(tmp_path):
    assert plot(FOUND, MACHINE, tmp_path) == tmp_path / "bench-open.svg"
    assert "textbook, p99.9" in (tmp_path / "bench-open.svg").read_text()
    assert plot([], MACHINE, tmp_path) is None
