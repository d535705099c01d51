"""Where the CPU goes: the sums of all workers between two moments, for one request."""

import json
import re
from pathlib import Path

import pytest

from tools.bench.experiments.cpu_profile import TREE, between, failures, table


def save(file, *samples):
    file.write_text("".join(json.dumps(sample) + "\n" for sample in samples))


def test_what_all_workers_spent_in_between_is_told_for_one_request(tmp_path):
    clocks = tmp_path / "clocks"
    save(
        tmp_path / "clocks.1",
        [1.0, {"request": [0, 0.0], "send": [0, 0.0]}],
        [2.0, {"request": [10, 1.0], "send": [10, 0.5]}],
        [3.0, {"request": [20, 3.0], "send": [20, 0.7]}],
        [9.0, {"request": [99, 9.0], "send": [99, 9.9]}],
    )
    save(tmp_path / "clocks.2", [2.1, {}], [2.9, {"request": [10, 1.0], "poller": [5, 1.0]}])
    save(tmp_path / "clocks.3", [1.0, {}])  # a worker that has done nothing in between

    found = between(clocks, 1.5, 3.5)

    assert found["request"] == pytest.approx((1.0, 0.15))
    assert found["send"] == pytest.approx((0.5, 0.01))
    assert found["poller"] == pytest.approx((0.25, 0.05))


def test_every_part_that_is_clocked_has_its_place_in_the_report():
    # Read, not imported: importing it starts a gateway.
    source = Path("tools/bench/programs/timed_gateway.py").read_text(encoding="utf-8")
    clocked = re.findall(r'^    \("([a-z ]+)", [A-Z]', source, re.MULTILINE)

    assert set(clocked) == {name for name, _ in TREE}
    assert {parent for _, parent in TREE} <= {name for name, _ in TREE} | {""}


def test_the_report_has_medians_and_what_is_missing_is_nothing():
    rounds = [{"process": (0.0, n / 1e6), "request": (1.0, n / 1e6)} for n in (1, 20, 300)]
    lines = list(table({"c64": rounds}))

    assert "c64: a worker's process 20 us" in "\n".join(lines)
    assert any(line.split() == ["request", "20", "us", "1.00", "times"] for line in lines)
    assert any(line.split() == ["poller", "0", "us", "0.00", "times"] for line in lines)


def test_a_clock_that_nothing_has_passed_is_a_failure():
    all_but_one = {name: (1.0, 1e-6) for name, _ in TREE if name != "send"}
    found = {"c1": [all_but_one], "c64": [all_but_one]}
    in_one_case = found | {"c64": [all_but_one | {"send": (0.3, 1e-6)}]}

    assert [line.split(";")[0] for line in failures(found)] == ["send was never called"]
    assert list(failures(in_one_case)) == []
