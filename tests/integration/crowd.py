"""Clients under way while something happens to the server."""

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from tests.integration.standin import StandIn, ask, post
from tools.devstack.ports import LOOPBACK

#: Sends requests over one connection and tells how each of them ended.
Ask = Callable[[StandIn], Iterator[str]]


def ask_once(server: StandIn, *headers: str) -> Iterator[str]:
    """Use a connection for one request."""
    yield ask(server, post("/echo", b"x" * 200, *headers))


def ask_on_kept_alive_connections(server: StandIn, **headers: str) -> Iterator[str]:
    """Use one connection for as long as the server keeps it."""
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=10)
    try:
        while True:
            connection.request("POST", "/echo", b"x", headers)
            response = connection.getresponse()
            response.read()
            yield str(response.status)
            if response.headers["Connection"] == "close":
                return
    except OSError as error:
        yield type(error).__name__
    finally:
        connection.close()


class Crowd:
    """
    Clients that never stop.

    ``endings`` counts how their requests ended, as *ask* tells of one connection after the other.
    """

    def __init__(self, server: StandIn, clients: int, ask: Ask = ask_once) -> None:
        self._server = server
        self._ask = ask
        self._stopping = threading.Event()
        self.endings: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._come) for _ in range(clients)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _come(self) -> None:
        while not self._stopping.is_set():
            for ending in self._ask(self._server):
                self.endings[ending] += 1
                if ending == "ConnectionRefusedError":
                    return
                if self._stopping.is_set():
                    break
