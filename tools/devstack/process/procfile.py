"""Reads a Procfile and starts its processes."""

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.devstack.process.child import Child, LineCallback

#: Runs once per deployment on Heroku, not continuously.
RELEASE = "release"
_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")
# A leading variable assignment, or another construct for which the shell has to stay.
_SHELL_SYNTAX = re.compile(r"^\s*\w+=|[&|;<>()`#\n]")
# What the shell expands before it starts the command.
_EXPANSION = re.compile(r"[$*?~]")


class ProcfileError(Exception):
    """Raised with the line when a Procfile cannot be read."""


def read_procfile(file: Path) -> dict[str, str]:
    """
    Return the commands of *file* by process name, in order, without the release command.

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
    command: str, env: Mapping[str, str], output: Path | LineCallback, cwd: Path | None = None
) -> Child:
    """
    Start *command*, as in a Procfile, in the virtual environment of this process.

    Args:
        env: added to the environment of this process.
        output: see Child.start().
    """
    return Child.start(_argv(command), env=_environment(env), output=output, cwd=cwd)


def _argv(command: str) -> list[str]:
    # Without a shell where possible, so that id and signals are those of the process itself.
    if _SHELL_SYNTAX.search(command):
        return ["sh", "-c", command]
    return ["sh", "-c", f"exec {command}"] if _EXPANSION.search(command) else shlex.split(command)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    merged = {**os.environ, **env}
    # Finds "python" and "gunicorn" in the virtual environment, activated or not.
    merged["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), merged.get("PATH", "")])
    # Into a pipe Python would write blocks instead of lines.
    merged.setdefault("PYTHONUNBUFFERED", "1")
    return merged
