"""The Procfile and the processes started from it."""

import sys
from pathlib import Path

import pytest

from tests.tools.devstack.support import LIMIT_S
from tools.devstack.process.procfile import ProcfileError, read_procfile, start_process


def test_processes_are_read_in_order_without_release(tmp_path: Path):
    file = tmp_path / "Procfile"
    file.write_text("# ours\nweb: gunicorn wsgi:app\n\nrelease: migrate\nworker: python -m w\n")

    assert list(read_procfile(file).items()) == [
        ("web", "gunicorn wsgi:app"),
        ("worker", "python -m w"),
    ]


def test_a_malformed_line_is_named(tmp_path: Path):
    file = tmp_path / "Procfile"
    file.write_text("web: a\nworker\n")

    with pytest.raises(ProcfileError, match="Procfile:2: 'worker'"):
        read_procfile(file)


def test_a_process_runs_in_this_virtual_environment_with_the_given_variables():
    lines: list[str] = []
    command = "python -c 'import os, sys; print(sys.prefix, os.environ[\"COLOUR\"])'"

    process = start_process(command, {"COLOUR": "red"}, lines.append)

    assert process.wait(LIMIT_S) == 0
    assert lines == [f"{sys.prefix} red"]


@pytest.mark.parametrize(("env", "colour"), [({}, "blue"), ({"COLOUR": "red"}, "red")])
def test_a_variable_is_expanded_and_the_process_is_that_of_the_command(tmp_path, env, colour):
    lines: list[str] = []
    file = tmp_path / "shade.py"
    file.write_text("import os; print(os.environ['SHADE'], os.getpid())")

    process = start_process(f"env SHADE=${{COLOUR:-blue}} python {file}", env, lines.append)

    assert process.wait(LIMIT_S) == 0
    assert lines == [f"{colour} {process.pid}"]


def test_a_command_may_use_shell_syntax():
    lines: list[str] = []

    process = start_process(
        'A=1 sh -c "echo $COLOUR $A" && echo end', {"COLOUR": "red"}, lines.append
    )

    assert process.wait(LIMIT_S) == 0
    assert lines == ["red", "end"]
