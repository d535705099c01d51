"""
Standard output and standard error that keep nobody waiting.

A pipe that nobody reads, or a disk that is full, blocks whoever writes a line, and with the lock of
logging everybody else. So lines go to a queue, and a thread of their own writes them. When the
queue is full they are dropped until it is empty again, and then it is told how many.
"""

import atexit
import io
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

#: So much may wait to be written, thousands of lines.
CAPACITY_BYTES = 1_000_000
#: What a pipe takes at once, so that lines of several processes do not mix (PIPE_BUF of Linux).
BATCH_BYTES = 4_096
#: How long lines are gathered after some were written: a thread that wakes for each line takes the
#: interpreter from those who work.
GATHER_S = 0.02
#: How long nothing is written after a failure.
RETRY_S = 0.2
#: For so long a process that ends waits for its last lines to be written.
DRAIN_LIMIT_S = 1.0


class Output(io.TextIOBase):
    """
    A text stream on file descriptor *fd* of which no call ever waits, or fails.

    What cannot be written now is written when that is possible again, in order.
    """

    def __init__(self, fd: int, capacity_bytes: int = CAPACITY_BYTES) -> None:
        super().__init__()
        self._fd = fd
        self._capacity_bytes = capacity_bytes
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what waits: after a fork it is the parent's, as is the thread that writes."""
        # Reentrant, for a signal handler may log too.
        self._lock = threading.RLock()
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._waiting_bytes = 0
        self._dropping = False
        self._lost_lines = 0
        self._writer: threading.Thread | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute
        """How text becomes bytes."""
        return "utf-8"

    def fileno(self) -> int:
        """Return the file descriptor, as those want it who redirect it."""
        return self._fd

    def isatty(self) -> bool:
        """Say whether somebody sits before it."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """Say that one may write."""
        return True

    def flush(self) -> None:
        """Do nothing: logging calls this after each line. See drain()."""

    def write(self, text: str) -> int:
        """Take *text*, or count its lines as lost."""
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._dropping:
                self._lost_lines += data.count(b"\n")
            elif self._waiting_bytes + len(data) > self._capacity_bytes:
                self._dropping = True
                self._lost_lines = data.count(b"\n")
                self._put(b"")  # wakes the writer if nothing was waiting
            else:
                self._put(data)
        return len(text)

    def drain(self, limit_s: float) -> bool:
        """Wait until all is written, *limit_s* at most, and say whether it is."""
        give_up_s = time.monotonic() + limit_s
        while (waits := self._waiting_bytes > 0) and time.monotonic() < give_up_s:
            time.sleep(0.002)
        return not waits

    def _put(self, data: bytes) -> None:
        self._waiting_bytes += len(data)
        self._queue.put(data)
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_out, name="output", daemon=True)
            self._writer.start()

    def _write_out(self) -> None:
        for batch in self._batches():
            self._write_whole(batch)
            with self._lock:
                self._waiting_bytes -= len(batch)
                if self._dropping and not self._waiting_bytes:
                    self._dropping = False
                    self._put(_notice(self._lost_lines).encode())
            time.sleep(GATHER_S)

    def _batches(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = 0
        while True:
            try:
                part = self._queue.get(block=not parts)
            except Empty:
                part = None
            if parts and (part is None or size + len(part) > BATCH_BYTES):
                yield b"".join(parts)
                parts, size = [], 0
            if part is not None:
                parts.append(part)
                size += len(part)

    def _write_whole(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # somebody else has made it so
                select.select([], [self._fd], [], RETRY_S)
            except OSError:  # the disk is full, or the reader gone: perhaps not for ever
                time.sleep(RETRY_S)


def _notice(lost_lines: int) -> str:
    """Return the line that tells of the loss, in the format of the log."""
    handler: Any = next(iter(logging.getLogger().handlers), logging.lastResort)
    text = "lines lost here, because they came faster than they could be written: %d"
    arguments = (lost_lines,)
    record = logging.LogRecord("output", logging.WARNING, __file__, 0, text, arguments, None)
    return f"{handler.format(record)}\n"


def make_output_nonblocking() -> None:
    """Have this process, and those that it forks, write to standard output and error like that."""
    if isinstance(sys.stdout, Output):
        return
    out = Output(sys.stdout.fileno())
    # Where both go to the same place their lines stay in order; else neither hinders the other.
    together = os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    error = out if together else Output(sys.stderr.fileno())
    for output in {out, error}:
        os.register_at_fork(after_in_child=output.begin_anew)
    sys.stdout, sys.stderr = out, error
    atexit.register(_end)


def drain(limit_s: float = DRAIN_LIMIT_S) -> bool:
    """Wait until the last lines are written, *limit_s* at most; say whether they are."""
    give_up_s = time.monotonic() + limit_s
    outputs = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, Output)]
    return all(output.drain(give_up_s - time.monotonic()) for output in outputs)


def _end() -> None:
    # What the interpreter says after this has no thread any more to write it.
    if drain():
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
