"""TLS proxy for a server without TLS, such as the embedded Redis."""

import contextlib
import select
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from tools.devstack.ports import LOOPBACK

CHUNK_BYTES = 65_536
#: Interval at which the accepting thread checks for the stop, in seconds.
STOP_CHECK_S = 0.1


class TlsProxy:
    """
    Forwards TLS connections to *target_port* of 127.0.0.1, one thread each.

    Args:
        keystore: a PEM file with the key and the certificates.
    """

    def __init__(self, target_port: int, keystore: Path) -> None:
        self._target = (LOOPBACK, target_port)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(keystore)
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.settimeout(STOP_CHECK_S)
        self._stop = threading.Event()
        self._connections: list[tuple[socket.socket, threading.Thread]] = []
        self._thread = threading.Thread(target=self._accept, name="tls-proxy")
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for client, thread in self._connections:
            with contextlib.suppress(OSError):  # it is closed already
                client.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept(self) -> None:
        with self._listener:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    client, _ = self._listener.accept()
                    thread = threading.Thread(target=self._connect, args=(client,))
                    self._connections.append((client, thread))
                    thread.start()

    def _connect(self, client: socket.socket) -> None:
        with (
            client,
            contextlib.suppress(OSError),
            # A duplicate, so that __exit__ can shut the connection down through the original.
            self._tls.wrap_socket(client.dup(), server_side=True) as near,
            socket.create_connection(self._target) as far,
        ):
            _forward(near, far)


def _forward(near: ssl.SSLSocket, far: socket.socket) -> None:
    """Copy in both directions until one side closes."""
    while True:
        # select() does not see what TLS has already read.
        ready = [near] if near.pending() else select.select([near, far], [], [])[0]
        for source, sink in ((near, far), (far, near)):
            if source in ready:
                data = source.recv(CHUNK_BYTES)
                if not data:
                    return
                sink.sendall(data)
