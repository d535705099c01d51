"""
The clients, in a process of their own: `python -m tools.soak.load.clients '{...}'`, see Load.

Each client waits for a response before its next request, and paces itself so that all clients send
a fixed rate together. SIGTERM ends them after their pending requests.
"""

import base64
import heapq
import http.client
import itertools
import json
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import IO

from tools.soak.load.gateways import CheckedGateways, Gateways
from tools.soak.load.problem import problem_in
from tools.soak.load.tasks import CONTENT_TYPE, PATH, Task, digest
from tools.soak.records import Exchange, LateFetch, write

#: Mean number of requests on a connection; a new one may reach another worker.
REQUESTS_PER_CONNECTION = 50
FLUSH_PAUSE_S = 0.2
#: Time from a timeout to the fetch of its late reply, in seconds.
FETCH_AFTER_S = 8.0
#: Maximum number of timeouts within a second whose late replies are fetched.
FETCHES_PER_S = 3


@dataclass(frozen=True)
class Load:
    """
    Arguments of the client process.

    Args:
        ports: of the gateways.
        per_s: requests per second of all clients.
        folder: for requests.jsonl and late.jsonl.
        first: number of the first request.
        checked: use gateways as a load balancer that checks /readyz, and repeat requests that have
            an idempotency key at another gateway.
        last: number of the last request; 0 for no end.
        fetches_late: whether to fetch replies after timeouts.
    """

    ports: tuple[int, ...]
    clients: int
    per_s: float
    seed: int
    timeout_s: float
    folder: str
    first: int = 1
    checked: bool = False
    last: int = 0
    fetches_late: bool = True

    def command(self) -> list[str]:
        """Return the command that runs it."""
        return [sys.executable, "-m", "tools.soak.load.clients", json.dumps(asdict(self))]


class Journal:
    """Appends rows to a file. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self._file: IO[str] = file.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def add(self, row: Exchange | LateFetch) -> None:
        """Append *row*; flush() writes it to the file."""
        with self._lock:
            write(self._file, row)

    def flush(self) -> None:
        """Write buffered rows to the file."""
        with self._lock:
            self._file.flush()


class Client:
    """One client: a loop of requests at a fixed pace."""

    def __init__(
        self,
        load: Load,
        index: int,
        numbers: "itertools.count[int]",
        gateways: Gateways,
        journal: Journal,
        late: "LateFetches",
    ) -> None:
        self._load = load
        self._index = index
        self._numbers = numbers
        self._gateways = gateways
        self._journal = journal
        self._late = late
        self._random = Random(f"client/{load.seed}/{index}")
        self._connection: http.client.HTTPConnection | None = None
        self._gateway = 0

    def run(self, stop: threading.Event) -> None:
        """Send requests until *stop* is set."""
        period_s = self._load.clients / self._load.per_s
        due_s = time.monotonic() + period_s * self._index / self._load.clients
        while not stop.wait(max(0.0, due_s - time.monotonic())):
            number = next(self._numbers)
            if 0 < self._load.last < number:
                break
            task = Task(self._load.seed, number, self._load.timeout_s)
            key = task.idempotency_key if self._load.checked else ""
            self._journal.add(exchange := self.send(task, key))
            if key:
                self._disconnect()
                self._index += 1  # at another gateway
                self._journal.add(self.send(task, key))
            is_pending = exchange.problem and exchange.correlation_id and exchange.sent != "no"
            if is_pending and self._load.fetches_late:
                self._late.schedule(exchange)
            # No burst after a fault: delayed requests are not sent in addition.
            due_s = max(due_s + period_s, time.monotonic())
        self._disconnect()

    def send(self, task: Task, idempotency_key: str = "") -> Exchange:
        """Send the request of *task* and return the exchange."""
        headers = {"Content-Type": CONTENT_TYPE}
        if idempotency_key:
            headers["Idempotency-Key"] = f'"{idempotency_key}"'
        connection = self._connected()
        started_s = time.monotonic()
        try:
            connection.request("POST", PATH, task.body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            took_s = time.monotonic() - started_s
            self._disconnect()
            self._gateways.avoid(self._gateway)
            return Exchange(task.number, self._gateway, started_s, took_s, error=repr(error)[:200])
        took_s = time.monotonic() - started_s
        if self._random.random() < 1 / REQUESTS_PER_CONNECTION:
            self._disconnect()
        return self._exchange(task, started_s, took_s, response, content)

    def _exchange(
        self,
        task: Task,
        started_s: float,
        took_s: float,
        response: http.client.HTTPResponse,
        content: bytes,
    ) -> Exchange:
        correlation_id = response.headers.get("X-Correlation-ID", "")
        expected = task.response_body(correlation_id) == content
        kind, sent = (
            ("", "") if expected else problem_in(response.getheader("Content-Type"), content)
        )
        if kind == "shutting-down":
            self._disconnect()
            self._gateways.avoid(self._gateway)
        return Exchange(
            number=task.number,
            gateway=self._gateway,
            sent_s=started_s,
            took_s=took_s,
            status=response.status,
            correlation_id=correlation_id,
            digest=digest(content),
            length=len(content),
            problem=kind,
            sent=sent,
            unexpected_body="" if expected else base64.b64encode(content).decode(),
        )

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is not None and self._gateways.leaves(self._gateway):
            self._disconnect()
        if self._connection is None:
            self._gateway = self._gateways.choose(self._index)
            self._connection = self._gateways.connect(self._gateway)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class LateFetches:
    """Fetches some of the replies that were too late for their requests."""

    def __init__(self, gateways: Gateways, journal: Journal) -> None:
        self._gateways = gateways
        self._journal = journal
        self._lock = threading.Lock()
        self._due: list[tuple[float, int, str]] = []
        self._in_second = (0, 0)

    def schedule(self, exchange: Exchange) -> None:
        """Fetch the reply of *exchange* later, unless there are many in this second."""
        second = int(exchange.ended_s)
        with self._lock:
            last_second, count = self._in_second
            count = count + 1 if last_second == second else 1
            self._in_second = (second, count)
            if count <= FETCHES_PER_S:
                due_s = exchange.ended_s + FETCH_AFTER_S
                heapq.heappush(self._due, (due_s, exchange.number, exchange.correlation_id))

    def run(self, stop: threading.Event) -> None:
        """Fetch due replies until *stop* is set."""
        while not stop.wait(FLUSH_PAUSE_S):
            while (due := self._next()) is not None:
                self._fetch(*due)
            self._journal.flush()

    def _next(self) -> tuple[int, str] | None:
        with self._lock:
            if self._due and self._due[0][0] <= time.monotonic():
                return heapq.heappop(self._due)[1:]
        return None

    def _fetch(self, number: int, correlation_id: str) -> None:
        connection = self._gateways.connect(self._gateways.choose(number))
        fetched_s = time.monotonic()
        try:
            connection.request("GET", f"/replies/{correlation_id}")
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()
        kind, _ = problem_in(response.getheader("Content-Type"), content)
        self._journal.add(
            LateFetch(number, correlation_id, fetched_s, response.status, digest(content), kind)
        )


def main() -> None:
    """Send until SIGTERM or the last request."""
    given = json.loads(sys.argv[1])
    load = Load(**given | {"ports": tuple(given["ports"])})
    stop, stop_late = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = Path(load.folder)
    journal, late_journal = Journal(folder / "requests.jsonl"), Journal(folder / "late.jsonl")
    gateways = (CheckedGateways if load.checked else Gateways)(load.ports)
    late = LateFetches(gateways, late_journal)
    numbers = itertools.count(load.first)
    clients = [
        Client(load, index, numbers, gateways, journal, late) for index in range(load.clients)
    ]
    threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
    fetching = threading.Thread(target=late.run, args=(stop_late,))
    threading.Thread(target=gateways.watch, daemon=True).start()
    for thread in (*threads, fetching):
        thread.start()
    while not stop.wait(FLUSH_PAUSE_S) and any(thread.is_alive() for thread in threads):
        journal.flush()
    for thread in threads:
        thread.join()
    stop_late.set()
    fetching.join()
    journal.flush()
    late_journal.flush()


if __name__ == "__main__":
    main()
