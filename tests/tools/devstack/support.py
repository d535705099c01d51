"""Commands that the tests start, and helpers."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.devstack.process.child import Child
from tools.devstack.process.supervisor import group_states
from tools.devstack.waiting import wait_until

ROOT = Path(__file__).parents[3]
LIMIT_S = 20.0
#: More than the stack allows for getting ready.
RUN_LIMIT_S = 70.0
#: A process with a child; both ignore SIGTERM if "stubborn".
PARENT_AND_CHILD = """
import os, signal, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print("started", flush=True)
time.sleep(1000)
"""
#: A process that reports SIGTERM, and ignores it if "stubborn".
WORKER = """
import signal, sys

def end(*_):
    print("terminated", flush=True)
    if "stubborn" not in sys.argv:
        sys.exit()

signal.signal(signal.SIGTERM, end)
print("started", flush=True)
while True:
    signal.pause()
"""
#: A gateway that is ready or not, and echoes.
GATEWAY = (
    """
import http.server, os, sys, threading

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(503, b"no Kafka") if "unready" in sys.argv else self.answer(200, b"")

    def do_POST(self):
        self.answer(200, self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
"""
    + WORKER
)


@contextmanager
def limited(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Kill *process* after RUN_LIMIT_S, so that reading its output ends."""
    timer = threading.Timer(RUN_LIMIT_S, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def ignore(_line: str) -> None:
    pass


def start_python(code: str, output: Callable[[str], None] = ignore) -> Child:
    return Child.start([sys.executable, "-c", code], output=output)


def start_parent_and_child(behaviour: str) -> Child:
    output: list[str] = []
    child = Child.start([sys.executable, "-c", PARENT_AND_CHILD, behaviour], output=output.append)
    assert wait_until(lambda: bool(output), LIMIT_S)
    assert len(group_states(child.pid)) == 2
    return child


def has_ended(group: int) -> bool:
    """Return whether all processes of *group* have ended; zombies do not count."""
    return all(state.startswith("Z") for state in group_states(group))
