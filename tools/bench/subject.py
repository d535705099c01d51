"""Subjects of the measurements; one runs at a time, with nothing else."""

import http.client
import re
import secrets
import shlex
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Self

from gateway.clients.api_keys import hash_of
from tools.bench.cases import BASE_WORKERS, Case, is_floor
from tools.bench.load.reporting_process import FLOORS, run_floor
from tools.bench.load.wrk import wrk
from tools.bench.measure.result import Result
from tools.bench.measure.usage import MemorySampler, Meter, rss_bytes
from tools.bench.servers import Servers, stop_together
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import read_procfile
from tools.devstack.process.procfs import children_of
from tools.devstack.waiting import wait_until

SUBJECTS = (*FLOORS, "naive", "ours", "ours-broadcast")
#: The topics of routes.toml and the reply topic.
TOPICS = ("echo", "orders", "replies")
REPLY_TIMEOUT_S = 10
#: Threads per worker: a waiting request holds one; enough for all connections.
THREADS = 300
NAIVE = (
    f"gunicorn -k gthread --threads {THREADS} --worker-connections 1000 -c /dev/null "
    "tools.bench.programs.naive_gateway:app"
)
#: What precedes the module in a command of the Procfile.
COMMAND_PREFIX = re.compile(r"(?P<env>(?:env (?:\w+=\S* )+)?)(?:python -m )?")
READY_LIMIT_S = 60.0
WARM_UP_S = 2.0
#: Few connections, so that the threads of many waiters do not exist before they are measured.
WARM_UP = Case("warm-up", connections=8)
BROKER_WARM_UP, BROKER_WARM_UP_S = Case("broker-warm-up"), 30.0
#: Time after a load for pending requests to end, in seconds.
SETTLE_S = 0.3


class NotReady(Exception):
    """Raised when a subject does not respond."""


@dataclass(frozen=True)
class Setup:
    """A subject, its settings and its number of processes."""

    subject: str
    workers: int = BASE_WORKERS
    replies: int = 1
    env: dict[str, str] = field(default_factory=dict)  # further settings of ours
    app: str = "wsgi:app"  # WSGI application of ours
    tree: Path | None = None  # source tree of ours; the current one by default
    python: str = "python"  # interpreter of ours
    label: str = ""  # name in reports; the subject by default
    shipped: bool = False  # run the Procfile of ours with default settings
    api_key: str = ""  # required by ours and sent by wrk, unless empty

    @property
    def name(self) -> str:
        """Name in reports."""
        return self.label or self.subject

    @property
    def floor(self) -> bool:
        """Whether it is a floor, which starts once for each case."""
        return is_floor(self.subject)


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
            self._prefix = stack.enter_context(self._servers.fresh(TOPICS))
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
        return f"http://{LOOPBACK}:{self._port}/echo"

    def pids(self) -> dict[str, list[int]]:
        """Return the current process ids by kind."""
        return self._servers.pids | {
            kind: [pid for child in children for pid in children_of(child.pid)]
            for kind, children in self._children.items()
        }

    def start_meter(self, floor_pid: int | None = None) -> Meter:
        """Return a meter of all processes, including that of a floor."""
        floor = {} if floor_pid is None else {"floor": [floor_pid]}
        return Meter(self.pids() | floor, self._servers.redis)

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
            _, cpu_s, calls = meter.read()
        cpu_s["wrk"] = generator.cpu_s
        rss = {"idle": self._idle_bytes, "loaded": memory.settled_bytes}
        time.sleep(SETTLE_S + case.delay_s)
        return Result(self.setup.name, case, number, load, cpu_s, calls, self.setup.replies, rss)

    def _measure_floor(self, case: Case, duration_s: float, number: int) -> Result:
        topics = f"{self._servers.kafka.address} {self._prefix}echo {self._prefix}replies"
        load, usage = run_floor(
            self.setup.subject, topics, case, duration_s, lambda pid: self.start_meter(pid).read
        )
        _, cpu_s, calls = usage
        return Result(self.setup.subject, case, number, load, cpu_s, calls)

    def _start_all(self) -> None:
        env = {"KAFKA_PREFIX": self._prefix}
        if self.setup.shipped:
            self._start_shipped(env)
            return
        env["MALLOC_ARENA_MAX"] = "1"  # as in the Procfile
        arguments = f"{self._servers.kafka.address} {self._prefix}echo {self._prefix}group"
        self._start("responder", f"python -m tools.bench.programs.echo_responder {arguments}", env)
        if self.setup.subject == "naive":
            self._start_naive()
        elif not self.setup.floor:
            self._start_ours(env)

    def _start_naive(self) -> None:
        env = {
            "NAIVE_REQUESTS": f"{self._prefix}echo",
            "NAIVE_REPLIES": f"{self._prefix}replies",
            "NAIVE_GROUP": f"{self._prefix}naive",
        }
        self._start("replies", "python -m tools.bench.programs.naive_replies", env)
        bind = f"-b {LOOPBACK}:{self._port} -w {self.setup.workers}"
        self._start("web", f"{NAIVE} {bind}", env)

    def _start_ours(self, env: dict[str, str]) -> None:
        env = {
            **env,
            "REPLIES_MODE": "broadcast" if self.setup.subject == "ours-broadcast" else "group",
            "WEB_CONCURRENCY": str(self.setup.workers),
            "THREADS": str(THREADS),
            "REPLY_TIMEOUT_S": str(REPLY_TIMEOUT_S),
            **self._env_of_web(),
        }
        python, tree = shlex.quote(self.setup.python), self.setup.tree
        for _ in range(self.setup.replies):
            self._start("replies", f"{python} -m replies", env, tree)
        self._start("web", f"{python} -m gunicorn {self.setup.app}", env, tree)

    def _start_shipped(self, env: dict[str, str]) -> None:
        tree = self.setup.tree or Path()
        env |= self._env_of_web()
        python = shlex.quote(self.setup.python)
        for kind, command in read_procfile(tree / "Procfile").items():
            self._start(kind, COMMAND_PREFIX.sub(rf"\g<env>{python} -m ", command, 1), env, tree)

    def _env_of_web(self) -> dict[str, str]:
        key = self.setup.api_key
        clients = f'[[client]]\nname = "bench"\nkeys = ["{hash_of(key)}"]\n' if key else ""
        return {
            "PORT": str(self._port),
            "SECRET_KEY": secrets.token_hex(32),
            "API_KEYS": clients,
            **self.setup.env,
        }

    def _start(
        self, kind: str, command: str, env: dict[str, str], tree: Path | None = None
    ) -> None:
        children = self._children.setdefault(kind, [])
        name = f"{self.setup.name}-{kind}{len(children) or ''}"
        children.append(self._servers.start(name, command, env, tree))

    def _stop(self) -> None:
        stop_together(chain.from_iterable(self._children.values()))

    def _warm_up(self) -> None:
        key = self.setup.api_key
        if not wait_until(lambda: responds(self._port, key), READY_LIMIT_S):
            raise NotReady(f"{self.setup.name} does not respond; see the logs")
        with wrk(self.url, WARM_UP, WARM_UP_S, api_key=key) as generator:
            generator.result()
        time.sleep(SETTLE_S)
        self._idle_bytes = rss_bytes(self.pids()["web"])


def warm_up(servers: Servers) -> None:
    """Warm up the broker: its compiler took a third of the CPU when cold."""
    with Subject(servers, Setup("floor")) as floor:
        floor.measure(BROKER_WARM_UP, BROKER_WARM_UP_S, 0)


def responds(port: int, api_key: str = "") -> bool:
    """Return whether 20 requests in a row succeed, so that every worker gets some."""
    return all(_echoes(port, api_key) for _ in range(20))


def _echoes(port: int, api_key: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=REPLY_TIMEOUT_S + 5)
    headers = {"Content-Type": "text/plain"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    try:
        connection.request("POST", "/echo", b"ready?", headers)
        response = connection.getresponse()
        return bool((response.status, response.read()) == (200, b"ready?"))
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
