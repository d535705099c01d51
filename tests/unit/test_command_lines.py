"""Each program explains its command line, without any settings."""

import os
import subprocess
import sys

import pytest

from tests.unit.test_architecture import ROOT

PROGRAMS = ["gateway.check", "gateway.keys", "replies", "responder"]
TOOLS = [
    f"{folder.parent.name}.{folder.name}"
    for parent in ("tools", "tests")
    for folder in sorted((ROOT / parent).iterdir())
    # atheris, which the fuzzer imports, is not everywhere.
    if (folder / "__main__.py").exists() and folder.name != "fuzz"
]


def run(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", PROGRAMS + TOOLS)
def test_help_is_printed(module):
    ended = run(module, "--help")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"usage: python -m {module}")


@pytest.mark.parametrize("module", PROGRAMS + TOOLS)
def test_an_unknown_option_ends_a_program_with_its_usage(module):
    ended = run(module, "--unknown")

    assert ended.returncode == 2
    assert f"usage: python -m {module}" in ended.stderr
    assert "Traceback" not in ended.stderr
