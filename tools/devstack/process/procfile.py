"""Read a Procfile and start processes from it."""

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.devstack.process.child import Child, LineCallback

#: Runs once per deployment on Heroku, not beside the others.
RELEASE = "release"
_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")
# A variable assignment in front, or anything else that only a shell understands.
_SHELL_SYNTAX = re.compile(r"^\s*\w+=|[$&|;<>()`*?~#\n]")


class ProcfileError(Exception):
    """Raised when a Procfile cannot be read, naming the line."""


def read_procfile(file: Path) -> dict[str, str]:
    """
    Return the command of each process that keeps running, by name, in the order of *file*.

    Raises:
        ProcfileError: when *file* is missing or a line is not "name: command".
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ProcfileError(f"{file} cannot be read: {error.strerror}") from error
    commands: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None or found[1] in commands:
            raise ProcfileError(f"{file}:{number}: {line!r}: expected a new 'name: command'")
        commands[found[1]] = found[2]
    commands.pop(RELEASE, None)
    return commands


def start_process(
    command: str,
    env: Mapping[str, str],
    output: Path | LineCallback,
    cwd: Path | None = None,
) -> Child:
    """
    Start *command*, a line of a Procfile, in the virtual environment that runs us.

    Args:
        env: variables on top of our own environment.
        output: see Child.start().
    """
    return Child.start(_argv(command), env=_environment(env), output=output, cwd=cwd)


def _argv(command: str) -> list[str]:
    # Without a shell in between, the id and the signals are those of the process itself.
    return ["sh", "-c", command] if _SHELL_SYNTAX.search(command) else shlex.split(command)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    merged = {**os.environ, **env}
    # "python" and "gunicorn" are those of the virtual environment, activated or not.
    merged["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), merged.get("PATH", "")])
    # Into a pipe Python writes blocks; we want each line when it happens.
    merged.setdefault("PYTHONUNBUFFERED", "1")
    return merged
