"""Clients that send requests without a pause during a change of the server."""

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from tests.integration.standin import StandIn, post, send
from tools.devstack.ports import LOOPBACK

#: Sends requests over one connection and yields the outcome of each.
Exchange = Callable[[StandIn], Iterator[str]]


def send_once(server: StandIn, *headers: str) -> Iterator[str]:
    """Use a connection for one request."""
    yield send(server, post("/echo", b"x" * 200, *headers))


def send_until_closed(server: StandIn, **headers: str) -> Iterator[str]:
    """Use one connection until the server closes it."""
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


class EndlessClients:
    """
    Clients that send requests until the end of the ``with`` block, or a connection is refused.

    ``outcomes`` counts the outcomes that *exchange* yields.
    """

    def __init__(self, server: StandIn, clients: int, exchange: Exchange = send_once) -> None:
        self._server = server
        self._exchange = exchange
        self._stopping = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> "EndlessClients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for outcome in self._exchange(self._server):
                self.outcomes[outcome] += 1
                if outcome == "ConnectionRefusedError":
                    return
                if self._stopping.is_set():
                    break
