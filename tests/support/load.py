"""Clients under way while something fails, and the ending of each of their requests."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

from tests.support.deployment import Gateway, Response, exchange
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

OWN = "own"


class Load:
    """
    Clients that send one echo after the other, each with a body that no other has.

    ``endings`` counts "own", "another's" and, for errors, the problem types.
    """

    def __init__(self, gateways: Sequence[Gateway], clients: int = 8) -> None:
        self.endings: Counter[str] = Counter()
        self.worst_s = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._started_s = time.monotonic()
        self._threads = [
            threading.Thread(target=self._run, args=(gateways[n % len(gateways)], n))
            for n in range(clients)
        ]

    def __enter__(self) -> Self:
        self._started_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.elapsed_s = time.monotonic() - self._started_s

    def goes_on(self, requests: int = 50, within_s: float = 60.0) -> None:
        """Return when so many more requests have got their own answer."""
        target = self.endings[OWN] + requests
        assert wait_until(lambda: self.endings[OWN] >= target, within_s), self.endings

    def figures(self) -> str:
        """Return what is worth telling of a load that has ended."""
        rate = self.endings.total() / self.elapsed_s
        return f"{rate:.0f} requests/s, worst {self.worst_s:.2f} s, {dict(self.endings)}"

    def _run(self, gateway: Gateway, number: int) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, gateway.port, timeout=60)
        count = 0
        while not self._stop.is_set():
            body = b"request %d of client %d" % (count, number)
            count += 1
            try:
                response = exchange(connection, "POST", "/echo", body)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._note(type(error).__name__, 0.0)
            else:
                self._note(_ending(response, body), response.elapsed_s)
        connection.close()

    def _note(self, ending: str, elapsed_s: float) -> None:
        with self._lock:
            self.endings[ending] += 1
            self.worst_s = max(self.worst_s, elapsed_s)


def _ending(response: Response, body: bytes) -> str:
    if response.status == 200:
        return OWN if response.body == body else "another's"
    return str(response.json["type"])
