"""Console output: lines of the stack, and those of processes with a name in front."""

import os
import sys
import threading
from collections.abc import Mapping
from typing import TextIO

from tools.devstack.process.child import LineCallback

COLOURS = (36, 33, 32, 35, 34, 31)  # cyan, yellow, green, magenta, blue, red
RESET = "\x1b[0m"


class Console:
    """Writes whole lines to *stream*. Thread-safe."""

    def __init__(self, stream: TextIO = sys.stdout, env: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._coloured = stream.isatty() and not env.get("NO_COLOR")

    def print(self, text: str) -> None:
        """Write *text* as a line."""
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except BrokenPipeError:
                # The reader has ended (make run | head); the processes keep running.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def prefixed(self, name: str, number: int, width: int) -> LineCallback:
        """Return a function that writes lines with *name* in front, coloured by *number*."""
        prefix = f"{name.ljust(width)} | "
        if self._coloured:
            prefix = f"\x1b[{COLOURS[number % len(COLOURS)]}m{prefix}{RESET}"
        return lambda line: self.print(prefix + line)
