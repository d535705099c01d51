"""
Console blocks of a document: parse them, run their commands, compare the output.

In the expected output a line ``...`` matches any lines, and ``...`` within a line any text.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Separates the outputs of two commands; no command prints it.
_END = "\x1e"


@dataclass(frozen=True)
class Step:
    """A command and its expected output."""

    line: int
    command: str
    expected: str


def files(document: str) -> dict[str, str]:
    """Return the blocks of *document* with a file name after the language, by that name."""
    return {name: text for _, name, text in _BLOCK.findall(document) if name}


def steps(document: str) -> Iterator[Step]:
    """Yield the commands in the console blocks of *document*, in order."""
    for block in _BLOCK.finditer(document):
        if block[1] == "console":
            yield from _commands(block[3], document.count("\n", 0, block.start(3)) + 1)


def _commands(block: str, first_line: int) -> Iterator[Step]:
    lines = block.splitlines()
    at = 0
    while at < len(lines):
        start = at
        command = lines[at].removeprefix("$ ")
        assert command != lines[at], f"line {first_line + at}: expected a command, '$ ...'"
        while lines[at].endswith("\\"):
            at += 1
            command += "\n" + lines[at]
        expected = list(takewhile(lambda line: not line.startswith("$ "), lines[at + 1 :]))
        at += 1 + len(expected)
        yield Step(first_line + start, command, "\n".join(expected))


def run(commands: list[str], folder: Path, env: Mapping[str, str], limit_s: float) -> list[str]:
    """Run *commands* in one shell in *folder*; return the output of each."""
    script = "".join(f"{command}\nprintf '{_END}'\n" for command in commands)
    shell = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=limit_s,
        check=False,
    )
    outputs = shell.stdout.decode("utf-8", "replace").replace("\r\n", "\n").split(_END)
    assert len(outputs) == len(commands) + 1, "the shell ended before the last command"
    return outputs[:-1]


def matches(expected: str, printed: str) -> bool:
    """Return whether *printed* matches *expected*."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r"[^\n]*".join(re.escape(part) for part in line.split("...")) + r"\n"
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n" if printed.strip() else "") is not None
