"""Whoever writes a line goes on at once, whatever becomes of it."""

import fcntl
import logging
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rendezvous.process import stdio as output
from rendezvous.process.stdio import Output
from tests.fakes import eventually

CAPACITY_BYTES = 10_000
LINE = "x" * 99 + "\n"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(output, "RETRY_S", 0.005)


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
    """Leave no room in the pipe; return how much that took."""
    os.set_blocking(fd, False)
    filled_bytes = 0
    try:
        while True:
            filled_bytes += os.write(fd, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(fd, True)
    return filled_bytes


def read_some(fd, size):
    assert select.select([fd], [], [], 10)[0], "nothing comes"
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


def test_what_cannot_be_encoded_is_written_all_the_same(stream, pipe):
    stream.write("\ud800 ä\n")

    assert read_until(pipe[0], b"\n") == ["\\ud800 ä"]


def test_a_pipe_that_nobody_reads_keeps_nobody_waiting_and_the_loss_is_told(stream, pipe):
    filled_bytes = fill(pipe[1])
    lines = 3 * CAPACITY_BYTES // len(LINE)
    for _ in range(lines):
        stream.write(LINE)
    read(pipe[0], filled_bytes)

    kept = read_until(pipe[0], b"lost")
    assert kept[:-1] == [LINE.strip()] * (CAPACITY_BYTES // len(LINE))
    lost = lines - len(kept[:-1])
    assert kept[-1].endswith(f"faster than they could be written: {lost}")
    stream.write("as before\n")
    assert read_until(pipe[0], b"\n") == ["as before"]


def test_a_line_that_is_too_long_is_told_of_and_harms_no_other(stream, pipe):
    stream.write("x" * CAPACITY_BYTES + "\n")
    told = read_until(pipe[0], b"lost")
    stream.write("as before\n")

    assert told[0].endswith("written: 1")
    assert read_until(pipe[0], b"\n") == ["as before"]


def test_the_loss_is_told_in_the_format_of_the_log(stream, pipe, monkeypatch):
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s <%(message)s>"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    stream.write("x" * CAPACITY_BYTES + "\n")

    (told,) = read_until(pipe[0], b"lost")
    assert told.startswith("WARNING output <lines lost here")


def test_a_disk_that_is_full_raises_nothing_and_loses_nothing_that_fits(stream, pipe, monkeypatch):
    full = threading.Event()
    full.set()
    write = os.write
    failures = []

    def write_if_there_is_room(fd, data):
        if fd == pipe[1] and full.is_set():
            failures.append(fd)
            raise OSError(28, "No space left on device")
        return write(fd, data[:7])  # and little at a time

    monkeypatch.setattr(os, "write", write_if_there_is_room)
    for n in range(10):
        stream.write(f"line {n}\n")
    eventually(lambda: len(failures) > 3)
    full.clear()

    assert read_until(pipe[0], b"line 9") == [f"line {n}" for n in range(10)]


def test_a_pipe_that_others_made_non_blocking_is_waited_for(stream, pipe, monkeypatch):
    monkeypatch.setattr(output, "RETRY_S", 60)
    filled_bytes = fill(pipe[1])
    os.set_blocking(pipe[1], False)
    stream.write("later\n")
    read(pipe[0], filled_bytes)

    assert read_until(pipe[0], b"later") == ["later"]


def test_draining_waits_for_the_last_line_and_not_for_ever(stream, pipe):
    stream.write("first\n")
    drained = stream.drain(10)
    filled_bytes = fill(pipe[1])
    stream.write("last\n")

    assert drained
    assert not stream.drain(0.05)
    assert read(pipe[0], 6) == b"first\n"
    read(pipe[0], filled_bytes)
    assert read_until(pipe[0], b"last") == ["last"]


def test_a_fork_writes_its_own_lines_and_none_of_its_parent(stream, pipe):
    filled_bytes = fill(pipe[1])
    stream.write("the parent's\n")
    pid = os.fork()
    if pid == 0:
        stream.begin_anew()
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
        cwd=Path(output.__file__).parents[2],
        timeout=30,
        check=False,
        **streams,
    )


def test_a_process_that_ends_has_written_its_last_lines(pipe):
    program = "for n in range(1000): logging.warning('line %d', n)\nsys.exit('the reason')"
    ended = run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    expected = [f"line {n}" for n in range(1000)] + ["the reason"]
    assert ended.stdout.decode().splitlines() == expected
    assert ended.returncode == 1


def test_forks_of_a_process_that_ends_have_written_theirs():
    program = "logging.warning('parent')\nif not os.fork(): logging.warning('child')"
    ended = run(program, stdout=subprocess.PIPE)

    assert sorted(ended.stdout.decode().splitlines()) == ["child", "parent"]


def test_standard_error_goes_on_when_standard_output_is_stuck(pipe):
    fill(pipe[1])
    program = "logging.warning('stuck')\nsys.exit('the reason')"
    ended = run(program, stdout=pipe[1], stderr=subprocess.PIPE)

    assert ended.stderr.decode().splitlines() == ["the reason"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk always full")
def test_a_process_works_and_ends_with_a_full_disk_for_its_log():
    program = "for n in range(20000): logging.warning('line %d of many', n)\nos._exit(7)"
    with open("/dev/full", "wb") as full:
        ended = run(program, stdout=full, stderr=subprocess.PIPE)

    assert (ended.returncode, ended.stderr) == (7, b"")


def test_the_pipe_of_these_tests_is_smaller_than_what_they_write(pipe):
    if hasattr(fcntl, "F_GETPIPE_SZ"):
        assert fill(pipe[1]) == fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ)
