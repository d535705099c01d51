"""One run: start clients and faults, watch them, and collect the evidence."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.devstack.process.child import Child
from tools.devstack.waiting import wait_until
from tools.output import print_line
from tools.soak.deployment import Deployment
from tools.soak.faults.injector import FaultInjector
from tools.soak.faults.schedule import Fault
from tools.soak.ledger import Effect, Ledger
from tools.soak.load.clients import Load
from tools.soak.load.tasks import digest
from tools.soak.records import Exchange, InjectedFault, LateFetch, read
from tools.soak.report.progress import Progress

CLIENTS = 24
#: The summary of a gateway process: its id, and its replies by their way.
WAYS = re.compile(
    r'"pid": (\d+), "event": "replies so far: (\d+) straight from Kafka, (\d+) through Redis"'
)
PROGRESS_S = 10.0
CHECK_S = 0.5
#: Maximum duration of a run with a number of requests, in seconds.
REQUESTS_LIMIT_S = 900.0
#: Time for the clients to receive their last responses, in seconds.
CLIENTS_GRACE_S = 20.0


@dataclass(frozen=True)
class Evidence:
    """Logs and state after a run. Times are of the monotonic clock."""

    start_s: float
    end_s: float
    timeout_s: float  # REPLY_TIMEOUT_S
    exchanges: list[Exchange]
    late_fetches: list[LateFetch]
    faults: list[InjectedFault]
    crashed: list[str]  # processes that ended without being stopped
    effects: list[Effect]
    stored: dict[str, tuple[int, str]]  # status and body digest in Redis, by correlation id
    ways: dict[str, int]  # number of replies by their way to a gateway: "straight" and "redis"
    delivery: str


class RunFailed(Exception):
    """Raised when a run could not be completed."""


def run(
    deployment: Deployment, faults: list[Fault], minutes: float, per_s: float, folder: Path
) -> Evidence:
    """
    Run load and faults on *deployment* and return the evidence.

    Raises:
        RunFailed: when a fault could not be injected, or the clients ended.
    """
    injector = FaultInjector(deployment, faults, folder / "faults.jsonl")

    def check() -> None:
        if injector.failure is not None:
            raise RunFailed(f"{injector.current}: {injector.failure!r}") from injector.failure

    with load(deployment, per_s, folder) as clients:
        start_s = time.monotonic()
        injector.start(start_s, start_s + minutes * 60)
        try:
            watch(clients, start_s, minutes * 60, folder, lambda: injector.current, check)
        finally:
            injector.stop()
        end_s = time.monotonic()
    check()
    crashed = [*injector.crashed, *deployment.restart_ended()]
    return collect(deployment, start_s, end_s, folder, injector.injected, crashed)


def collect(
    deployment: Deployment,
    start_s: float,
    end_s: float,
    folder: Path,
    faults: list[InjectedFault],
    crashed: list[str],
) -> Evidence:
    """Return the evidence of a load from *start_s* to *end_s*."""
    return Evidence(
        start_s,
        end_s,
        deployment.timeout_s,
        read(Exchange, folder / "requests.jsonl"),
        read(LateFetch, folder / "late.jsonl"),
        faults,
        crashed,
        _effects(deployment),
        _stored(deployment),
        _ways(folder),
        deployment.delivery,
    )


def run_requests(
    deployment: Deployment, requests: int, clients: int, per_s: float, folder: Path
) -> Evidence:
    """
    Send *requests* without faults, and return the evidence.

    Raises:
        RunFailed: when the clients took longer than REQUESTS_LIMIT_S.
    """
    with load(deployment, per_s, folder, clients, last=requests) as child:
        start_s = time.monotonic()
        progress = Progress(folder / "requests.jsonl", start_s)
        while child.returncode is None:
            if time.monotonic() > start_s + REQUESTS_LIMIT_S:
                raise RunFailed(f"{requests} requests took more than {REQUESTS_LIMIT_S:g} s")
            wait_until(lambda: child.returncode is not None, PROGRESS_S)
            print_line(progress.line(""))
        end_s = time.monotonic()
    return collect(deployment, start_s, end_s, folder, [], deployment.restart_ended())


@contextmanager
def load(
    deployment: Deployment,
    per_s: float,
    folder: Path,
    clients: int = CLIENTS,
    first: int = 1,
    checked: bool = False,
    last: int = 0,
) -> Iterator[Child]:
    """
    Run the clients for the block; at its end, pending requests get their responses.

    Args:
        clients, first, checked, last: see Load.
    """
    ports, target = tuple(deployment.ports), str(folder.absolute())
    task = Load(
        ports=ports,
        clients=clients,
        per_s=per_s,
        seed=deployment.seed,
        timeout_s=deployment.timeout_s,
        folder=target,
        first=first,
        checked=checked,
        last=last,
        fetches_late=deployment.redis is not None,
    )
    child = Child.start(task.command(), output=folder / "clients.log")
    try:
        yield child
        child.signal(signal.SIGTERM)
        child.wait(CLIENTS_GRACE_S)
    finally:
        child.kill()


def watch(
    clients: Child,
    start_s: float,
    duration_s: float,
    folder: Path,
    fault: Callable[[], str] = str,
    check: Callable[[], None] = lambda: None,
    before_line: Callable[[], None] = lambda: None,
) -> None:
    """
    Report progress for *duration_s*.

    Args:
        fault: returns the current fault.
        check: raises to abort the run.
        before_line: called before each line of progress.

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
            before_line()
            print_line(progress.line(fault()))


def _effects(deployment: Deployment) -> list[Effect]:
    return [effect for file in deployment.ledger_files for effect in effects_in(file)]


def effects_in(file: Path) -> list[Effect]:
    """Return the executions recorded in *file*."""
    with closing(Ledger(file)) as ledger:
        return ledger.effects()


def _ways(folder: Path) -> dict[str, int]:
    """Return the sums of the last counts that each gateway process has logged."""
    last: dict[tuple[str, str], tuple[int, int]] = {}
    for log in folder.glob("gateway-*.log"):
        for pid, straight, redis in WAYS.findall(log.read_text(errors="replace")):
            last[log.name, pid] = (int(straight), int(redis))
    return {
        "straight": sum(straight for straight, _ in last.values()),
        "redis": sum(redis for _, redis in last.values()),
    }


def _stored(deployment: Deployment) -> dict[str, tuple[int, str]]:
    """Return status and body digest of each reply in Redis, by correlation id."""
    found: dict[str, tuple[int, str]] = {}
    for redis in deployment.redis_clients():
        for key in redis.scan_iter("reply:*", count=1000):
            value = redis.get(key)
            if isinstance(value, bytes) and b"\n" in value:  # others are not replies
                head, _, body = value.partition(b"\n")
                correlation_id, status, *_ = json.loads(head)
                found[str(correlation_id)] = (int(status), digest(body))
    return found
