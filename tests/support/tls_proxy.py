"""A port that speaks TLS in front of a server that does not, as the embedded Redis."""

import contextlib
import select
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from tools.devstack.ports import LOOPBACK

CHUNK_BYTES = 65_536
#: How soon it notices that it is to stop.
ACCEPT_S = 0.1


class TlsFront:
    """
    Passes TLS connections on to *target_port* of 127.0.0.1, each in a thread of its own.

    Args:
        keystore: a PEM file with the key and the certificates.
    """

    def __init__(self, target_port: int, keystore: Path) -> None:
        self._target = (LOOPBACK, target_port)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(keystore)
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.settimeout(ACCEPT_S)
        self._stop = threading.Event()
        self._connections: list[tuple[socket.socket, threading.Thread]] = []
        self._thread = threading.Thread(target=self._accept, name="tls-front")
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for client, thread in self._connections:
            with contextlib.suppress(OSError):  # it has ended already
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
            # A copy: by the other one the connection can be ended while this one waits.
            self._tls.wrap_socket(client.dup(), server_side=True) as near,
            socket.create_connection(self._target) as far,
        ):
            _pass_on(near, far)


def _pass_on(near: ssl.SSLSocket, far: socket.socket) -> None:
    """Return when one of them has finished."""
    while True:
        # What TLS has read ahead is nothing that the system knows of.
        ready = [near] if near.pending() else select.select([near, far], [], [])[0]
        for source, sink in ((near, far), (far, near)):
            if source in ready:
                data = source.recv(CHUNK_BYTES)
                if not data:
                    return
                sink.sendall(data)
