"""
The server of the management port: ``/metrics``, and ``/livez`` and ``/readyz`` of a process.

It has a port of its own, since it needs no API key, and threads of its own, which answer while the
process is busy or hangs.
"""

import errno
import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

from rendezvous import __version__
from rendezvous.process.monitoring.health import ProcessHealth
from rendezvous.process.monitoring.metrics import show_build

logger = logging.getLogger(__name__)

#: Pause before the next attempt to listen on a port that is taken, in seconds.
RETRY_S = 2.0
#: Maximum time of a read from, or a write to, a client, in seconds.
CLIENT_TIMEOUT_S = 10.0

#: Returns what is wrong, a sentence each; empty when nothing is.
FindProblems = Callable[[], list[str]]
_WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve_process(port: int, health: ProcessHealth) -> None:
    """Serve metrics and probes on METRICS_PORT, if it is not 0, until this process ends."""
    show_build()
    if port:
        ManagementServer(port, alive=health.dead, ready=health.unready).start()


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: probes come every few seconds."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Listen for every client, without the look-up of a host name."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a client has closed its connection or was too slow."""


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class ManagementServer:
    """
    Serves metrics and probes on a port, from threads of its own.

    A port that is taken is tried again: a process that ends may still hold it, and no request to
    the gateway depends on it.

    Args:
        registry: the metrics.
        alive: finds what only a restart of this process mends; None for no ``/livez``.
        ready: finds what keeps this process from its work; None for no ``/readyz``.
    """

    def __init__(
        self,
        port: int,
        registry: CollectorRegistry = REGISTRY,
        alive: FindProblems | None = None,
        ready: FindProblems | None = None,
    ) -> None:
        self._port = port
        paths = {"/metrics": make_wsgi_app(registry)}
        paths |= {"/livez": _probe("alive", alive)} if alive else {}
        paths |= {"/readyz": _probe("ready", ready)} if ready else {}
        self._app = _by_path(paths)
        self._server: _Server | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="management", daemon=True)

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        server = self._listen()
        if server is None:
            return
        with server:
            self._server = server
            if not self._closing.is_set():
                logger.info("metrics are served on port %d", self._port)
                server.serve_forever(poll_interval=0.1)

    def _listen(self) -> _Server | None:
        """Return the server once the port is free; None when closed before."""
        failure = ""
        while not self._closing.is_set():
            try:
                server = _listen(self._port)
            except OSError as error:
                if str(error) != failure:
                    failure = str(error)
                    logger.error(
                        "METRICS_PORT=%d cannot be listened on (%s), trying again; choose another "
                        "port, or stop what listens there",
                        self._port,
                        error.strerror,
                    )
                self._closing.wait(RETRY_S)
            else:
                server.set_app(self._app)
                return server
        return None


def _listen(port: int) -> _Server:
    """Return a server on every address; raises OSError when it cannot listen."""
    try:
        return _ServerOnIPv6(("", port), _Handler)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise
        return _Server(("", port), _Handler)  # the machine has no IPv6


def _by_path(paths: dict[str, _WSGIApp]) -> _WSGIApp:
    known = ", ".join(paths)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = paths.get(environ["PATH_INFO"])
        if found is not None:
            return found(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"no such path; this port has {known}\n".encode()]

    return app


def _probe(state: str, find: FindProblems) -> _WSGIApp:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        problems = find()
        body = {
            "status": f"not {state}" if problems else state,
            "problems": problems,
            "version": __version__,
        }
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        start_response("503 Service Unavailable" if problems else "200 OK", headers)
        return [json.dumps(body).encode()]

    return app
