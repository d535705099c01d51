"""One soak: the deployment, its clients and its faults; then the raw material for the verdict."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.devstack.process.child import Child
from tools.soak.deployment import TIMEOUT_S, Topology
from tools.soak.faults.injector import Disturber
from tools.soak.faults.schedule import Fault
from tools.soak.ledger import Effect, Ledger
from tools.soak.load.clients import Load
from tools.soak.load.tasks import digest
from tools.soak.records import Happened, LateLook, Seen, read
from tools.soak.report.progress import Progress

CLIENTS = 24
PROGRESS_S = 10.0
CHECK_S = 0.5
#: The clients may have to wait for their last answers.
CLIENTS_GRACE_S = 20.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Evidence:
    """All that is known after a run. Times are the machine's monotonic clock."""

    start_s: float
    end_s: float
    seen: list[Seen]
    late: list[LateLook]
    faults: list[Happened]
    ended: list[str]  # processes that ended and nobody had asked them to
    effects: list[Effect]
    stored: dict[str, tuple[int, str]]


class RunFailed(Exception):
    """Raised when the run itself, rather than what it found, went wrong."""


def run(
    topology: Topology, faults: list[Fault], minutes: float, per_s: float, folder: Path, say: Say
) -> Evidence:
    """
    Load and disturb *topology* and return what was seen.

    Raises:
        RunFailed: when a fault could not be carried out, or the clients ended.
    """
    disturber = Disturber(topology, faults, folder / "faults.jsonl")

    def check() -> None:
        if disturber.failure is not None:
            raise RunFailed(f"{disturber.current}: {disturber.failure!r}") from disturber.failure

    with load(topology, per_s, folder) as clients:
        start_s = time.monotonic()
        disturber.start(start_s, start_s + minutes * 60)
        try:
            follow(clients, start_s, minutes * 60, folder, say, lambda: disturber.current, check)
        finally:
            disturber.stop()
        end_s = time.monotonic()
    check()
    ended = [*disturber.ended, *topology.revive()]
    return gather(topology, start_s, end_s, folder, disturber.happened, ended)


def gather(
    topology: Topology,
    start_s: float,
    end_s: float,
    folder: Path,
    faults: list[Happened],
    ended: list[str],
) -> Evidence:
    """Return all that is known after a load from *start_s* to *end_s*."""
    return Evidence(
        start_s,
        end_s,
        read(Seen, folder / "requests.jsonl"),
        read(LateLook, folder / "late.jsonl"),
        faults,
        ended,
        _effects(topology),
        _stored(topology),
    )


@contextmanager
def load(
    topology: Topology, per_s: float, folder: Path, clients: int = CLIENTS, first: int = 1
) -> Iterator[Child]:
    """Run the clients while the block runs, and let those who wait have their answers."""
    ports, target = tuple(topology.ports), str(folder.absolute())
    task = Load(ports, clients, per_s, topology.seed, TIMEOUT_S, target, first)
    child = Child.start(task.command(), output=folder / "clients.log")
    try:
        yield child
        child.signal(signal.SIGTERM)
        child.wait(CLIENTS_GRACE_S)
    finally:
        child.kill()


def follow(
    clients: Child,
    start_s: float,
    duration_s: float,
    folder: Path,
    say: Say,
    fault: Callable[[], str] = str,
    check: Callable[[], None] = lambda: None,
    every: Callable[[], None] = lambda: None,
) -> None:
    """
    Report progress for *duration_s*.

    Args:
        fault: says what is disturbed now.
        check: raises when it makes no sense to go on.
        every: is called before each line of progress.

    Raises:
        RunFailed: when the clients ended.
    """
    progress = Progress(folder / "requests.jsonl", start_s)
    line_s = start_s
    while time.monotonic() < start_s + duration_s:
        time.sleep(CHECK_S)
        if clients.returncode is not None:
            raise RunFailed(f"the clients ended; see {folder / 'clients.log'}")
        check()
        if time.monotonic() >= line_s + PROGRESS_S:
            line_s += PROGRESS_S
            every()
            say(progress.line(fault()))


def _effects(topology: Topology) -> list[Effect]:
    ledger = Ledger(topology.ledger_file)
    try:
        return ledger.effects()
    finally:
        ledger.close()


def _stored(topology: Topology) -> dict[str, tuple[int, str]]:
    """Return status and body digest of each reply that is left in Redis, by correlation id."""
    found = {}
    with topology.redis_client() as redis:
        for key in redis.scan_iter("reply:*", count=1000):
            value = redis.get(key)
            if isinstance(value, bytes):
                head, _, body = value.partition(b"\n")
                correlation_id, status, *_ = json.loads(head)
                found[str(correlation_id)] = (int(status), digest(body))
    return found
