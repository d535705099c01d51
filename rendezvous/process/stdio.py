"""
Standard output and standard error that never block.

A pipe that is not read, or a full disk, blocks the thread that writes a line, and by the lock of
logging all others. So lines go to a queue, and a thread writes them. When the queue is full, lines
are dropped until it is empty again; then their number is logged.

A queue below the log handlers, not logging's QueueHandler: it also covers gunicorn's handlers,
print() and the messages of sys.exit().
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

#: Maximum size of the queue: thousands of lines.
CAPACITY_BYTES = 1_000_000
#: Maximum size of a write; a pipe takes it in one piece, so that processes do not mix their lines.
BATCH_BYTES = 4_096
#: Pause after a write, in seconds: a thread that wakes for each line slows down the others.
BATCH_PAUSE_S = 0.02
#: Pause after a write that failed, in seconds.
RETRY_S = 0.2
#: Maximum time for the last lines of a process, in seconds.
DRAIN_LIMIT_S = 1.0


class Output(io.TextIOBase):
    """
    A text stream on a file descriptor, whose calls never block or fail.

    What cannot be written now is written later, in order.
    """

    def __init__(self, fd: int, capacity_bytes: int = CAPACITY_BYTES) -> None:
        super().__init__()
        self._fd = fd
        self._capacity_bytes = capacity_bytes
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Empty the queue, whose lines the parent writes."""
        # Reentrant, for a signal handler may log too.
        self._lock = threading.RLock()
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._queued_bytes = 0
        self._dropping = False
        self._dropped_lines = 0
        self._writer: threading.Thread | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute
        """The encoding of the text."""
        return "utf-8"

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """Return True."""
        return True

    def flush(self) -> None:
        """Do nothing: logging calls this after each line. See drain()."""

    def write(self, text: str) -> int:
        """Queue *text*, or drop and count its lines."""
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._dropping:
                self._dropped_lines += data.count(b"\n")
                self._start_writer()
            elif self._queued_bytes + len(data) > self._capacity_bytes:
                self._dropping = True
                self._dropped_lines = data.count(b"\n")
                self._put(b"")  # wakes the writer if the queue is empty
            else:
                self._put(data)
        return len(text)

    def drain(self, limit_s: float) -> bool:
        """Wait up to *limit_s* until the queue is written; return whether it is."""
        give_up_s = time.monotonic() + limit_s
        while (has_more := self._queued_bytes > 0) and time.monotonic() < give_up_s:
            time.sleep(0.002)
        return not has_more

    def _put(self, data: bytes) -> None:
        self._queued_bytes += len(data)
        self._queue.put(data)
        self._start_writer()

    def _start_writer(self) -> None:
        if self._writer is not None:
            return
        # In this order: a signal handler that logs meanwhile must start no second one.
        self._writer = threading.Thread(target=self._write_queue, name="output", daemon=True)
        try:
            self._writer.start()
        except RuntimeError:  # the system has no thread left; the next line tries again
            self._writer = None

    def _write_queue(self) -> None:
        for batch in self._batches():
            self._write_whole(batch)
            with self._lock:
                self._queued_bytes -= len(batch)
                if self._dropping and not self._queued_bytes:
                    self._dropping = False
                    self._put(_dropped_notice(self._dropped_lines).encode())
            time.sleep(BATCH_PAUSE_S)

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
            except BlockingIOError:  # another process has made the pipe non-blocking
                select.select([], [self._fd], [], RETRY_S)
            except OSError:  # the disk is full, or the pipe has no reader; this can end
                time.sleep(RETRY_S)


def _dropped_notice(lines: int) -> str:
    """Return the line that reports dropped *lines*, in the format of the log."""
    handler: Any = next(iter(logging.getLogger().handlers), logging.lastResort)
    text = "log lines dropped here, because they came faster than they could be written: %d"
    record = logging.LogRecord("output", logging.WARNING, __file__, 0, text, (lines,), None)
    return f"{handler.format(record)}\n"


def make_output_nonblocking() -> None:
    """Replace standard output and error, in this process and its children."""
    if isinstance(sys.stdout, Output):
        return
    out = Output(sys.stdout.fileno())
    # One stream for one file keeps its lines in order; two streams never delay each other.
    is_same = os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    error = out if is_same else Output(sys.stderr.fileno())
    for output in {out, error}:
        os.register_at_fork(after_in_child=output.reset_after_fork)
    sys.stdout, sys.stderr = out, error
    atexit.register(_drain_at_exit)


def drain(limit_s: float = DRAIN_LIMIT_S) -> bool:
    """Wait up to *limit_s* for the last lines; return whether they are written."""
    give_up_s = time.monotonic() + limit_s
    outputs = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, Output)]
    return all(output.drain(give_up_s - time.monotonic()) for output in outputs)


def _drain_at_exit() -> None:
    # After this there is no thread to write what the interpreter prints.
    if drain():
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
