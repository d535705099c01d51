"""The gunicorn worker, run by a thread of this process."""

import errno
import os
import signal
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace

from gunicorn.config import Config
from gunicorn.glogging import Logger

from gateway.server.http.refusals import Limits
from gateway.server.request_queue import QueueLimits
from gateway.server.shutdown import ShutdownState
from gateway.server.worker import GatewayWorker
from tests.fakes import eventually

MAX_BODY_BYTES = 1_000
THREADS = 2
MAX_CONNECTIONS = 8
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
KEEP_ALIVE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
LARGE = 50_000_000


class FailingListener(socket.socket):
    """A listening socket that cannot accept while *failures* are left."""

    failures = 0

    def accept(self):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def application(environ, start_response):
    """Respond with the length of the body, or with a large body, or fail."""
    if environ["PATH_INFO"] == "/fails":
        raise environ["test.failure"]
    body = environ["wsgi.input"].read()
    response = b"x" * LARGE if environ["PATH_INFO"] == "/large" else b"%d" % len(body)
    start_response("200 OK", [("Content-Length", str(len(response)))])
    return [response]


class Running:
    """A worker whose main loop runs in a thread, on the socket of *listener*."""

    def __init__(
        self,
        listener,
        *,
        wsgi=None,
        max_body_bytes=MAX_BODY_BYTES,
        slot_rules=None,
        queue_limits=None,
        **settings,
    ):
        cfg = Config()
        defaults = {"threads": THREADS, "keepalive": 5, "worker_connections": MAX_CONNECTIONS}
        for name, value in (defaults | settings).items():
            cfg.set(name, value)
        self.address = listener.getsockname()
        # gunicorn wraps each socket.
        sockets = [SimpleNamespace(sock=listener)]
        self.worker = GatewayWorker(1, os.getppid(), sockets, None, 30, cfg, Logger(cfg))
        self.worker.limits = Limits(max_body_bytes, 20.0)
        self.worker.shutdown_state = ShutdownState()
        self.worker.slot_rules = slot_rules
        self.worker.queue_limits = queue_limits or QueueLimits()
        self.worker.wsgi = wsgi or application
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()
        eventually(lambda: self.worker.servers)

    @property
    def connections(self):
        return self.worker.connections

    def connect(self):
        return socket.create_connection(self.address, 10)

    def response_to(self, request):
        with self.connect() as client:
            client.sendall(request)
            return read_to_end(client)

    @contextmanager
    def paused(self):
        """Let the main loop do nothing."""
        sweep, reached, go_on = self.connections.sweep, threading.Event(), threading.Event()

        def wait(now_s):
            reached.set()
            go_on.wait(10)
            sweep(now_s)

        self.connections.sweep = wait
        reached.wait(10)
        try:
            yield
        finally:
            self.connections.sweep = sweep
            go_on.set()

    def stop(self):
        self.worker.handle_exit(signal.SIGTERM, None)

    def ended(self):
        return not self._thread.is_alive()

    def close(self):
        self.worker.drain_delay_s = 0.0
        with suppress(OSError):  # its thread may be ending; a signal comes between its steps
            self.stop()
        self._thread.join(10)
        assert self.ended()
        self.worker.tmp.close()


def reset(client):
    """Close *client* with a TCP reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def read_to_end(client):
    return b"".join(iter(lambda: client.recv(65_536), b""))


def exchanged(client, request, end):
    """Send *request*; return the response once it ends with *end*."""
    client.sendall(request)
    response = b""
    while not response.endswith(end):
        received = client.recv(65_536)
        assert received, response
        response += received
    return response


def request(size, sent=None):
    return HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * (size if sent is None else sent)
