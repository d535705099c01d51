"""Console output: lines of the stack, and those of processes with a name in front."""

import os
import sys
import threading
from collections.abc import Mapping
from typing import TextIO

from tools.devstack.process.child import LineCallback
from tools.devstack.request_lines import RequestLines

COLOURS = (36, 33, 32, 35, 34, 31)  # cyan, yellow, green, magenta, blue, red
RESET = "\x1b[0m"


class Console:
    """Writes whole lines to *stream*. Thread-safe."""

    def __init__(self, stream: TextIO = sys.stdout, env: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.is_coloured = stream.isatty() and not env.get("NO_COLOR")
        #: Makes the lines of the gateway readable.
        self.requests = RequestLines(is_coloured=self.is_coloured)

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
        readable = self.requests.readable
        prefix = f"{name.ljust(width)} | "
        if self.is_coloured:
            prefix = f"\x1b[{COLOURS[number % len(COLOURS)]}m{prefix}{RESET}"

        def write(line: str) -> None:
            shown = readable(line)
            if shown is not None:
                self.print(prefix + shown)

        return write
