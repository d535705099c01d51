"""Writing a line never blocks or fails; dropped lines are counted."""

import fcntl
import logging
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rendezvous.process import stdio
from rendezvous.process.stdio import Output
from tests.fakes import eventually, raising

CAPACITY_BYTES = 10_000
LINE = "x" * 99 + "\n"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(stdio, "RETRY_S", 0.005)


@pytest.fixture
def pipe():
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    os.close(read_fd)
    os.close(write_fd)


@pytest.fixture
def stream(pipe):
    return Output(pipe[1], CAPACITY_BYTES)


def fill(fd):
    """Fill the pipe; return its size in bytes."""
    os.set_blocking(fd, False)
    filled_bytes = 0
    try:
        while True:
            filled_bytes += os.write(fd, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(fd, True)
    return filled_bytes


def read_some(fd, size):
    assert select.select([fd], [], [], 10)[0], "nothing was written"
    return os.read(fd, size)


def read(fd, size):
    data = b""
    while len(data) < size:
        data += read_some(fd, size - len(data))
    return data


def read_until(fd, end):
    """Return the lines up to the one that has *end* in it."""
    data = b""
    while end not in data or not data.endswith(b"\n"):
        data += read_some(fd, 65_536)
    return data.decode().splitlines()


def test_lines_are_written_in_order(stream, pipe):
    for n in range(500):
        stream.write(f"line {n}\n")

    assert read_until(pipe[0], b"line 499") == [f"line {n}" for n in range(500)]


def test_lines_are_written_once_the_system_has_a_thread_for_that(stream, pipe, monkeypatch):
    with monkeypatch.context() as no_thread:
        no_thread.setattr(threading.Thread, "start", raising(RuntimeError("no thread")))
        stream.write("first\n")
    stream.write("second\n")

    assert read(pipe[0], 13) == b"first\nsecond\n"


def test_a_queue_that_was_full_before_there_was_a_thread_is_written(stream, pipe, monkeypatch):
    with monkeypatch.context() as no_thread:
        no_thread.setattr(threading.Thread, "start", raising(RuntimeError("no thread")))
        for _ in range(CAPACITY_BYTES // len(LINE) + 1):
            stream.write(LINE)
    stream.write(LINE)

    assert (
        read(pipe[0], CAPACITY_BYTES + 1)[:CAPACITY_BYTES] == CAPACITY_BYTES // 100 * LINE.encode()
    )


def test_characters_that_utf_8_cannot_encode_are_escaped(stream, pipe):
    stream.write("\ud800 ä\n")

    assert read_until(pipe[0], b"\n") == ["\\ud800 ä"]


def test_a_pipe_that_is_not_read_blocks_no_writer_and_dropped_lines_are_counted(stream, pipe):
    filled_bytes = fill(pipe[1])
    lines = 3 * CAPACITY_BYTES // len(LINE)
    for _ in range(lines):
        stream.write(LINE)
    read(pipe[0], filled_bytes)

    kept = read_until(pipe[0], b"dropped")
    assert kept[:-1] == [LINE.strip()] * (CAPACITY_BYTES // len(LINE))
    dropped = lines - len(kept[:-1])
    assert kept[-1].endswith(f"faster than they could be written: {dropped}")
    stream.write("as before\n")
    assert read_until(pipe[0], b"\n") == ["as before"]


def test_a_line_larger_than_the_queue_is_dropped_alone(stream, pipe):
    stream.write("x" * CAPACITY_BYTES + "\n")
    notice = read_until(pipe[0], b"dropped")
    stream.write("as before\n")

    assert notice[0].endswith("written: 1")
    assert read_until(pipe[0], b"\n") == ["as before"]


def test_the_notice_of_dropped_lines_has_the_format_of_the_log(stream, pipe, monkeypatch):
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s <%(message)s>"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    stream.write("x" * CAPACITY_BYTES + "\n")

    (notice,) = read_until(pipe[0], b"dropped")
    assert notice.startswith("WARNING output <log lines dropped here")


def test_lines_for_a_full_disk_are_written_when_there_is_space(stream, pipe, monkeypatch):
    full = threading.Event()
    full.set()
    write = os.write
    failures = []

    def write_unless_full(fd, data):
        if fd == pipe[1] and full.is_set():
            failures.append(fd)
            raise OSError(28, "No space left on device")
        return write(fd, data[:7])  # and little at a time

    monkeypatch.setattr(os, "write", write_unless_full)
    for n in range(10):
        stream.write(f"line {n}\n")
    eventually(lambda: len(failures) > 3)
    full.clear()

    assert read_until(pipe[0], b"line 9") == [f"line {n}" for n in range(10)]


def test_a_pipe_that_another_process_made_non_blocking_is_written_later(stream, pipe, monkeypatch):
    monkeypatch.setattr(stdio, "RETRY_S", 60)
    filled_bytes = fill(pipe[1])
    os.set_blocking(pipe[1], False)
    stream.write("later\n")
    read(pipe[0], filled_bytes)

    assert read_until(pipe[0], b"later") == ["later"]


def test_draining_waits_for_the_last_line_up_to_its_limit(stream, pipe):
    stream.write("first\n")
    drained = stream.drain(10)
    filled_bytes = fill(pipe[1])
    stream.write("last\n")

    assert drained
    assert not stream.drain(0.05)
    assert read(pipe[0], 6) == b"first\n"
    read(pipe[0], filled_bytes)
    assert read_until(pipe[0], b"last") == ["last"]


def test_a_forked_process_writes_its_own_lines_only(stream, pipe):
    filled_bytes = fill(pipe[1])
    stream.write("the parent's\n")
    pid = os.fork()
    if pid == 0:
        stream.reset_after_fork()
        stream.write("the child's\n")
        os._exit(0 if stream.drain(10) else 1)
    read(pipe[0], filled_bytes)
    lines = read_until(pipe[0], b"parent's") if stream.drain(10) else []
    _, status = os.waitpid(pid, 0)
    lines += read_until(pipe[0], b"child's") if "the child's" not in lines else []

    assert status == 0
    assert sorted(lines) == ["the child's", "the parent's"]


PROGRAM = """
import logging, os, sys
from rendezvous.process.stdio import make_output_nonblocking
make_output_nonblocking()
logging.basicConfig(stream=sys.stdout, format="%(message)s")
"""


def run(program, **streams):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        cwd=Path(stdio.__file__).parents[2],
        timeout=30,
        check=False,
        **streams,
    )


def test_a_process_writes_its_last_lines_before_it_ends():
    program = "for n in range(1000): logging.warning('line %d', n)\nsys.exit('the reason')"
    ended = run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    expected = [f"line {n}" for n in range(1000)] + ["the reason"]
    assert ended.stdout.decode().splitlines() == expected
    assert ended.returncode == 1


def test_a_forked_process_writes_its_last_lines_before_it_ends():
    program = "logging.warning('parent')\nif not os.fork(): logging.warning('child')"
    ended = run(program, stdout=subprocess.PIPE)

    assert sorted(ended.stdout.decode().splitlines()) == ["child", "parent"]


def test_a_stuck_standard_output_does_not_delay_standard_error(pipe):
    fill(pipe[1])
    program = "logging.warning('stuck')\nsys.exit('the reason')"
    ended = run(program, stdout=pipe[1], stderr=subprocess.PIPE)

    assert ended.stderr.decode().splitlines() == ["the reason"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk always full")
def test_a_process_runs_and_ends_although_the_disk_of_its_log_is_full():
    program = "for n in range(20000): logging.warning('line %d of many', n)\nos._exit(7)"
    with open("/dev/full", "wb") as full:
        ended = run(program, stdout=full, stderr=subprocess.PIPE)

    assert (ended.returncode, ended.stderr) == (7, b"")


def test_fill_fills_the_pipe(pipe):
    if hasattr(fcntl, "F_GETPIPE_SZ"):
        assert fill(pipe[1]) == fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ)
