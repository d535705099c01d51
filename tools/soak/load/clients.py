"""
The clients, in a process of their own: `python -m tools.soak.load.clients '{...}'`, see Load.

Each waits for its answer before it sends again, and not before its turn: so many requests a second
in all, whatever the gateway could do. SIGTERM lets those under way end.
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

from tools.devstack.ports import LOOPBACK
from tools.soak.load.tasks import CONTENT_TYPE, PATH, Task, digest
from tools.soak.records import LateLook, Seen, write

PROBLEM_TYPE = "application/problem+json"
PROBLEMS = "/problems/"
#: Beyond all that a gateway may take.
HANGING_S = 15.0
#: A connection serves about so many requests; the next one may meet another worker.
REQUESTS_PER_CONNECTION = 50
#: A gateway that refuses connections is left alone for so long, as a load balancer would.
COOL_DOWN_S = 1.0
FLUSH_PAUSE_S = 0.2
#: When a reply that came too late is asked for.
LOOK_AFTER_S = 8.0
#: Of the timeouts within a second, so many are looked after.
LOOKS_PER_S = 3


@dataclass(frozen=True)
class Load:
    """
    What the clients do.

    Args:
        ports: of the gateways.
        per_s: requests per second of all clients.
        folder: where requests.jsonl and late.jsonl are written.
        first: the number of the first request.
    """

    ports: tuple[int, ...]
    clients: int
    per_s: float
    seed: int
    timeout_s: float
    folder: str
    first: int = 1

    def command(self) -> list[str]:
        """Return the command that runs it."""
        return [sys.executable, "-m", "tools.soak.load.clients", json.dumps(asdict(self))]


class Journal:
    """Appends rows to a file; safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        self._file: IO[str] = file.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def add(self, row: Seen | LateLook) -> None:
        """Append *row*; it reaches the file at the next flush()."""
        with self._lock:
            write(self._file, row)

    def flush(self) -> None:
        """Let the others see what there is."""
        with self._lock:
            self._file.flush()


class Gateways:
    """Where to connect to: gateways that refuse are left alone for a moment."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self._ports = ports
        self._shunned_s = [0.0] * len(ports)

    def choose(self, preferred: int) -> int:
        """Return *preferred*, or another one while that is shunned."""
        now_s = time.monotonic()
        turns = (preferred + step for step in range(len(self._ports)))
        numbers = (turn % len(self._ports) for turn in turns)
        return next((n for n in numbers if self._shunned_s[n] <= now_s), preferred)

    def shun(self, number: int) -> None:
        """Leave it alone for a moment."""
        self._shunned_s[number] = time.monotonic() + COOL_DOWN_S

    def connect(self, number: int) -> http.client.HTTPConnection:
        """Return a connection; it opens with the first request."""
        return http.client.HTTPConnection(LOOPBACK, self._ports[number], timeout=HANGING_S)


class Client:
    """One closed loop."""

    def __init__(
        self,
        load: Load,
        place: int,
        numbers: "itertools.count[int]",
        gateways: Gateways,
        journal: Journal,
        late: "LateLooks",
    ) -> None:
        self._load = load
        self._place = place
        self._numbers = numbers
        self._gateways = gateways
        self._journal = journal
        self._late = late
        self._random = Random(f"client/{load.seed}/{place}")
        self._connection: http.client.HTTPConnection | None = None
        self._gateway = 0

    def run(self, stop: threading.Event) -> None:
        """Send one request after the other until *stop* is set."""
        period_s = self._load.clients / self._load.per_s
        due_s = time.monotonic() + period_s * self._place / self._load.clients
        while not stop.wait(max(0.0, due_s - time.monotonic())):
            seen = self.exchange(Task(self._load.seed, next(self._numbers), self._load.timeout_s))
            self._journal.add(seen)
            if seen.problem and seen.correlation_id and seen.sent != "no":
                self._late.remember(seen)
            # No catching up: what a fault held back does not come as a burst.
            due_s = max(due_s + period_s, time.monotonic())
        self._hang_up()

    def exchange(self, task: Task) -> Seen:
        """Send *task* and return what came back."""
        body = task.body
        connection = self._connected()
        started_s = time.monotonic()
        try:
            connection.request("POST", PATH, body, {"Content-Type": CONTENT_TYPE})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            took_s = time.monotonic() - started_s
            self._hang_up()
            self._gateways.shun(self._gateway)
            return Seen(task.number, self._gateway, started_s, took_s, error=repr(error)[:200])
        took_s = time.monotonic() - started_s
        if self._random.random() < 1 / REQUESTS_PER_CONNECTION:
            self._hang_up()
        return self._seen(task, started_s, took_s, response, content)

    def _seen(
        self,
        task: Task,
        started_s: float,
        took_s: float,
        response: http.client.HTTPResponse,
        content: bytes,
    ) -> Seen:
        correlation_id = response.headers.get("X-Correlation-ID", "")
        expected = task.answer(correlation_id) == content
        kind, sent = (
            ("", "") if expected else problem_of(response.getheader("Content-Type"), content)
        )
        if kind == "shutting-down":
            self._hang_up()
            self._gateways.shun(self._gateway)
        return Seen(
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
            kept="" if expected else base64.b64encode(content).decode(),
        )

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._gateway = self._gateways.choose(self._place % len(self._load.ports))
            self._connection = self._gateways.connect(self._gateway)
        return self._connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class LateLooks:
    """Asks for some of the replies that came too late."""

    def __init__(self, gateways: Gateways, journal: Journal) -> None:
        self._gateways = gateways
        self._journal = journal
        self._lock = threading.Lock()
        self._due: list[tuple[float, int, str]] = []
        self._in_second = (0, 0)

    def remember(self, seen: Seen) -> None:
        """Look after the request *seen* in a while, unless there are many such."""
        second = int(seen.answered_s)
        with self._lock:
            of, count = self._in_second
            count = count + 1 if of == second else 1
            self._in_second = (second, count)
            if count <= LOOKS_PER_S:
                due = (seen.answered_s + LOOK_AFTER_S, seen.number, seen.correlation_id)
                heapq.heappush(self._due, due)

    def run(self, stop: threading.Event) -> None:
        """Look after them when it is time, until *stop* is set."""
        while not stop.wait(FLUSH_PAUSE_S):
            while (due := self._next()) is not None:
                self._look(*due)
            self._journal.flush()

    def _next(self) -> tuple[int, str] | None:
        with self._lock:
            if self._due and self._due[0][0] <= time.monotonic():
                return heapq.heappop(self._due)[1:]
        return None

    def _look(self, number: int, correlation_id: str) -> None:
        connection = self._gateways.connect(self._gateways.choose(0))
        asked_s = time.monotonic()
        try:
            connection.request("GET", f"/replies/{correlation_id}")
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()
        kind, _ = problem_of(response.getheader("Content-Type"), content)
        self._journal.add(
            LateLook(number, correlation_id, asked_s, response.status, digest(content), kind)
        )


def problem_of(content_type: str | None, content: bytes) -> tuple[str, str]:
    """Return the kind of a gateway's problem and what it says about "sent"; ("", "") for others."""
    if content_type != PROBLEM_TYPE:
        return "", ""
    try:
        problem = json.loads(content)
        address, sent = str(problem["type"]), str(problem.get("sent", ""))
    except (ValueError, KeyError, TypeError):
        return "", ""
    kind = address.removeprefix(PROBLEMS)
    return (kind, sent) if kind != address else ("", "")


def main() -> None:
    """Send until SIGTERM."""
    given = json.loads(sys.argv[1])
    load = Load(**given | {"ports": tuple(given["ports"])})
    stop, stop_late = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = Path(load.folder)
    journal, late_journal = Journal(folder / "requests.jsonl"), Journal(folder / "late.jsonl")
    gateways = Gateways(load.ports)
    late = LateLooks(gateways, late_journal)
    numbers = itertools.count(load.first)
    clients = [
        Client(load, place, numbers, gateways, journal, late) for place in range(load.clients)
    ]
    threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
    looking = threading.Thread(target=late.run, args=(stop_late,))
    for thread in (*threads, looking):
        thread.start()
    while not stop.wait(FLUSH_PAUSE_S):
        journal.flush()
    for thread in threads:
        thread.join()
    stop_late.set()
    looking.join()
    journal.flush()
    late_journal.flush()


if __name__ == "__main__":
    main()
