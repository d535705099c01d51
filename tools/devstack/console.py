"""What people see: our own lines, and those of the processes with a name in front."""

import os
import sys
import threading
from collections.abc import Mapping
from typing import TextIO

from tools.devstack.process.child import LineCallback

COLOURS = (36, 33, 32, 35, 34, 31)  # cyan, yellow, green, magenta, blue, red
RESET = "\x1b[0m"


class Console:
    """Lines to *stream* from several threads, each line whole."""

    def __init__(self, stream: TextIO = sys.stdout, env: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._coloured = stream.isatty() and not env.get("NO_COLOR")

    def say(self, text: str) -> None:
        """Write *text* and end the line."""
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except BrokenPipeError:
                # Nobody reads any more (make run | head); what runs goes on until it is stopped.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def prefixed(self, name: str, number: int, width: int) -> LineCallback:
        """Return who writes lines with *name* in front, in the colour of *number*."""
        prefix = f"{name.ljust(width)} | "
        if self._coloured:
            prefix = f"\x1b[{COLOURS[number % len(COLOURS)]}m{prefix}{RESET}"
        return lambda line: self.say(prefix + line)
