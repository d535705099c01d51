"""Options of the benchmarks."""

from pathlib import Path

import pytest

from tools.bench.__main__ import COMMANDS
from tools.bench.options import parse


def test_without_a_command_everything_is_measured_but_the_variants():
    options = parse(["--rounds", "2"], "")

    assert (options.command, options.rounds) == ("run", 2)
    assert {"shipped", "textbook", "floor-shipped", "ours", "naive"} < set(options.subjects)
    assert "textbook-flush" not in options.subjects


@pytest.mark.parametrize("command", ["run", "open", "peers --from x"])
def test_the_delivery_is_a_setting_of_our_processes(command: str):
    options = parse([*command.split(), "--env", "THREADS=32", "--delivery", "direct"], "")

    assert dict(options.env) == {"THREADS": "32", "REPLY_DELIVERY": "direct"}


def test_another_delivery_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse(["open", "--delivery", "quick"], "")

    assert "expected direct or store, not 'quick'" in capsys.readouterr().err


def test_two_settings_are_compared():
    options = parse(["compare", "--a", "X=1", "--a", "Y=2", "--b", "X=3", "--cases", "c64,c1"], "")

    assert (dict(options.a), dict(options.b)) == ({"X": "1", "Y": "2"}, {"X": "3"})
    assert [case.name for case in options.cases] == ["c1", "c64"]


def test_rates_and_numbers_of_workers_are_lists():
    assert parse(["open", "--rates", "100,1500"], "").rates == [100, 1500]
    assert parse(["idle", "--workers", "1,4"], "").workers == [1, 4]


def test_peers_need_the_folder_that_has_them():
    options = parse(["peers", "--from", "x", "--peers", "nest"], "")

    assert (options.folder, options.peers) == (Path("x"), ["nest"])
    with pytest.raises(SystemExit):
        parse(["peers"], "")


def test_every_command_has_options():
    arguments = {"peers": ["--from", "x"], "plots": ["file", "folder"]}

    for name in COMMANDS:
        assert parse([name, *arguments.get(name, [])], "").command == name
