"""CPU time by part: the totals of all workers between two moments, per request."""

import json

import pytest

from tools.bench.experiments.cpu_profile import NESTING, between, failures, table
from tools.bench.programs.timed_parts import PARTS


def save(file, *samples):
    file.write_text("".join(json.dumps(sample) + "\n" for sample in samples))


def test_usage_of_all_workers_is_divided_by_the_requests(tmp_path):
    timers = tmp_path / "timers"
    save(
        tmp_path / "timers.1",
        [1.0, {"request": [0, 0.0], "send": [0, 0.0]}],
        [2.0, {"request": [10, 1.0], "send": [10, 0.5]}],
        [3.0, {"request": [20, 3.0], "send": [20, 0.7]}],
        [9.0, {"request": [99, 9.0], "send": [99, 9.9]}],
    )
    save(tmp_path / "timers.2", [2.1, {}], [2.9, {"request": [10, 1.0], "poller": [5, 1.0]}])
    save(tmp_path / "timers.3", [1.0, {}])  # a worker without requests in between

    found = between(timers, 1.5, 3.5)

    assert found["request"] == pytest.approx((1.0, 0.15))
    assert found["send"] == pytest.approx((0.5, 0.01))
    assert found["poller"] == pytest.approx((0.25, 0.05))


def test_every_timed_part_exists_and_is_in_the_report():
    assert [
        f"{cls.__name__}.{method}" for _, cls, method in PARTS if not hasattr(cls, method)
    ] == []
    assert {name for name, _, _ in PARTS} == {name for name, _ in NESTING}
    assert {parent for _, parent in NESTING} <= {name for name, _ in NESTING} | {""}


def test_the_report_has_medians_and_zero_for_missing_parts():
    rounds = [{"process": (0.0, n / 1e6), "request": (1.0, n / 1e6)} for n in (1, 20, 300)]
    lines = list(table({"c64": rounds}))

    assert "c64: worker process 20 us" in "\n".join(lines)
    assert any(line.split() == ["request", "20", "us", "1.00", "times"] for line in lines)
    assert any(line.split() == ["poller", "0", "us", "0.00", "times"] for line in lines)


def test_a_part_that_was_never_called_is_a_failure():
    all_but_one = {name: (1.0, 1e-6) for name, _ in NESTING if name != "send"}
    found = {"c1": [all_but_one], "c64": [all_but_one]}
    in_one_case = found | {"c64": [all_but_one | {"send": (0.3, 1e-6)}]}

    assert [line.split(";")[0] for line in failures(found)] == ["send was never called"]
    assert list(failures(in_one_case)) == []
