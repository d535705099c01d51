"""Subjects of the measurements; one runs at a time, with nothing else."""

import http.client
import time
from contextlib import ExitStack
from itertools import chain
from typing import Self

from tools.bench.cases import Case
from tools.bench.load.reporting_process import run_floor
from tools.bench.load.wrk import wrk
from tools.bench.measure.result import Result
from tools.bench.measure.usage import MemorySampler, Meter, rss_bytes
from tools.bench.processes import REPLY_TIMEOUT_S, Place, processes_of
from tools.bench.servers import Servers, stop_together
from tools.bench.setup import Setup
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.child import Child
from tools.devstack.process.procfs import children_of
from tools.devstack.waiting import wait_until

READY_LIMIT_S = 60.0
WARM_UP_S = 2.0
#: Few connections, so that the threads of many waiters do not exist before they are measured.
WARM_UP = Case("warm-up", connections=8)
#: Of gateways of other projects: a Java process compiles what it runs often.
FOREIGN_WARM_UP, FOREIGN_WARM_UP_S = Case("warm-up"), 8.0
BROKER_WARM_UP, BROKER_WARM_UP_S = Case("broker-warm-up"), 30.0
#: Time after a load for pending requests to end, in seconds.
SETTLE_S = 0.3


class NotReady(Exception):
    """Raised when a subject does not respond."""


class Subject:
    """
    A subject and its responder on fresh topics, running for the ``with`` block.

    A gateway responds and is warmed up when the block starts.
    """

    def __init__(self, servers: Servers, setup: Setup) -> None:
        self._servers = servers
        self.setup = setup
        self._stack = ExitStack()
        self._children: dict[str, list[Child]] = {}
        self._prefix = ""
        self._port = free_port()
        self._idle_bytes = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._prefix = stack.enter_context(
                self._servers.fresh(self.setup.topics, prefixed=self.setup.foreign is None)
            )
            stack.callback(self._stop)
            self._start_all()
            if not self.setup.floor:
                self._warm_up()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """URL that wrk sends requests to."""
        return f"http://{LOOPBACK}:{self._port}{self.setup.path}"

    def pids(self) -> dict[str, list[int]]:
        """Return the current process ids by kind."""
        return self._servers.pids | {
            kind: [pid for child in children for pid in children_of(child.pid)]
            for kind, children in self._children.items()
        }

    def start_meter(self, floor_pid: int | None = None) -> Meter:
        """Return a meter of all processes, including that of a floor."""
        floor = {} if floor_pid is None else {"floor": [floor_pid]}
        return Meter(self.pids() | floor, self._servers.redis, self._servers.requests.counts)

    def measure(self, case: Case, seconds: float, number: int) -> Result:
        """Measure under *case* for *seconds*, in round *number*."""
        # With a delay the first responses come late.
        duration_s = seconds + 2 * case.delay_s
        if self.setup.floor:
            return self._measure_floor(case, duration_s, number)
        with (
            MemorySampler(self.pids()["web"]) as memory,
            wrk(self.url, case, duration_s, api_key=self.setup.api_key) as generator,
        ):
            meter = self.start_meter()
            load = generator.result()
            use = meter.read()
        cpu_s = use.cpu_s | {"wrk": generator.cpu_s}
        rss = {"idle": self._idle_bytes, "loaded": memory.settled_bytes}
        time.sleep(SETTLE_S + case.delay_s)
        return Result(
            self.setup.name,
            case,
            number,
            load,
            cpu_s,
            use.redis_calls,
            self.setup.replies,
            rss,
            use.kafka_requests,
        )

    def _measure_floor(self, case: Case, duration_s: float, number: int) -> Result:
        topics = f"{self._servers.kafka.address} {self._prefix}echo {self._prefix}replies"
        topics += self._servers.floor_options
        load, use = run_floor(
            self.setup.subject, topics, case, duration_s, lambda pid: self.start_meter(pid).read
        )
        return Result(
            self.setup.subject,
            case,
            number,
            load,
            use.cpu_s,
            use.redis_calls,
            kafka_requests=use.kafka_requests,
        )

    def _start_all(self) -> None:
        place = Place(self._servers.kafka.address, self._prefix, self._port)
        for process in processes_of(self.setup, place):
            children = self._children.setdefault(process.kind, [])
            name = f"{self.setup.name.replace('/', '-')}-{process.kind}{len(children) or ''}"
            children.append(self._servers.start(name, process.command, process.env, process.folder))

    def _stop(self) -> None:
        stop_together(chain.from_iterable(self._children.values()))

    def _warm_up(self) -> None:
        key = self.setup.api_key
        if not wait_until(lambda: responds(self._port, self.setup.path, key), READY_LIMIT_S):
            raise NotReady(f"{self.setup.name} does not respond; see the logs")
        case, seconds = (
            (FOREIGN_WARM_UP, FOREIGN_WARM_UP_S) if self.setup.foreign else (WARM_UP, WARM_UP_S)
        )
        with wrk(self.url, case, seconds, api_key=key) as generator:
            generator.result()
        time.sleep(SETTLE_S)
        self._idle_bytes = rss_bytes(self.pids()["web"])


def warm_up(servers: Servers) -> None:
    """Warm up the broker: its compiler took a third of the CPU when cold."""
    with Subject(servers, Setup("floor")) as floor:
        floor.measure(BROKER_WARM_UP, BROKER_WARM_UP_S, 0)


def responds(port: int, path: str, api_key: str = "") -> bool:
    """Return whether 20 requests in a row succeed, so that every worker gets some."""
    return all(_echoes(port, path, api_key) for _ in range(20))


def _echoes(port: int, path: str, api_key: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=REPLY_TIMEOUT_S + 5)
    headers = {"Content-Type": "text/plain"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    try:
        connection.request("POST", path, b"ready?", headers)
        response = connection.getresponse()
        return bool((response.status, response.read()) == (200, b"ready?"))
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
