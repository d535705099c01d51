"""Injects the scheduled faults into the deployment, one after the other."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tools.devstack.process.server import Server
from tools.devstack.redis_groups import RedisGroup
from tools.soak.deployment import STOP_GRACE_S, Deployment
from tools.soak.faults.schedule import TAIL_S, Fault
from tools.soak.judge.recovery import RATE_WINDOW_S
from tools.soak.records import InjectedFault, write

DELAY_S = 0.2


class FaultInjector:
    """
    Injects *faults* into *deployment*, in a thread of its own from start() on.

    Args:
        log: file to which each healed fault is appended.
    """

    def __init__(self, deployment: Deployment, faults: Sequence[Fault], log: Path) -> None:
        self._deployment = deployment
        self._faults = faults
        self._log = log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="injector", daemon=True)
        self._start_s = self._end_s = 0.0  # monotonic clock
        #: The current fault, or "".
        self.current = ""
        self.injected: list[InjectedFault] = []
        #: Processes that ended without being stopped.
        self.crashed: list[str] = []
        #: The error that ended the thread, if any.
        self.failure: Exception | None = None

    def start(self, start_s: float, end_s: float) -> None:
        """Start; the schedule counts from *start_s*, and the load ends at *end_s*."""
        self._start_s, self._end_s = start_s, end_s
        self._thread.start()

    def stop(self) -> None:
        """Heal the current fault and inject no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        free_s = 0.0
        try:
            for fault in self._faults:
                # Healing may take longer than scheduled.
                due_s = max(self._start_s + fault.at_s, free_s)
                late = due_s > self._end_s - TAIL_S
                if late or self._stop.wait(max(0.0, due_s - time.monotonic())):
                    return
                self.crashed += self._deployment.restart_ended()
                if isinstance(redis := self._deployment.redis, RedisGroup):
                    redis.wait_until_in_sync()
                self._inject_and_record(fault)
                free_s = time.monotonic() + fault.kind.recovery_limit_s + RATE_WINDOW_S
        except Exception as error:  # noqa: BLE001 - reported by run()
            self.failure = error

    def _inject_and_record(self, fault: Fault) -> None:
        kind = fault.kind
        self.current = f"{kind.name} {fault.replica} ({fault.lasts_s:.1f} s)"
        at_s = time.monotonic()
        self._inject(fault)
        healed_s = time.monotonic()
        limits = (kind.recovery_limit_s, kind.breaks_connections)
        injected = InjectedFault(kind.name, fault.replica, at_s, healed_s, *limits)
        self.injected.append(injected)
        with self._log.open("a", encoding="utf-8") as file:
            write(file, injected)
        self.current = ""

    def _inject(self, fault: Fault) -> None:
        target = fault.kind.target
        if fault.kind.action in ("delay", "blackhole", "reset"):
            self._inject_network(fault)
        elif target == "worker":
            self._inject_worker(fault)
        elif target in ("redis", "kafka"):
            self._inject_server(fault)
        elif target == "primary":
            self._inject_primary(fault)
        elif target == "partitions":
            self._deployment.reply_topic.add_partitions()
        elif target == "topic":
            self._deployment.reply_topic.delete()
            self._hold(fault)
            self._deployment.create_topics()
        else:
            self._inject_process(fault)

    def _inject_network(self, fault: Fault) -> None:
        proxy = self._deployment.proxies[fault.kind.target]
        if fault.kind.action == "delay":
            proxy.delay(DELAY_S)
        elif fault.kind.action == "blackhole":
            proxy.blackhole()
        else:
            proxy.reset()
        self._hold(fault)
        proxy.heal()

    def _inject_worker(self, fault: Fault) -> None:
        pid = self._deployment.workers(fault.replica)[0]
        if fault.kind.action == "kill":
            os.kill(pid, signal.SIGKILL)
            return
        os.kill(pid, signal.SIGSTOP)
        self._hold(fault)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _inject_server(self, fault: Fault) -> None:
        kafka = fault.kind.target == "kafka"
        server = self._deployment.kafka if kafka else self._deployment.redis
        assert isinstance(server, Server)  # no others have these faults
        if fault.kind.action == "pause":
            server.pause()
            self._hold(fault)
            server.resume()
            return
        server.kill()
        if not kafka:  # a broker takes long enough to start
            self._hold(fault)
        server.start()
        if kafka:
            self._deployment.create_topics()

    def _inject_primary(self, fault: Fault) -> None:
        """Let a replica take over: the fault ends when it has, or when the primary is back."""
        group = self._deployment.redis
        assert isinstance(group, RedisGroup)
        primary = group.primaries()[-fault.replica]
        if fault.kind.action == "switch":
            group.switch(primary)
        elif fault.kind.action == "pause":
            primary.pause()
            self._hold(fault)
            primary.resume()
        else:
            primary.kill()
            group.wait_for_takeover(primary)
            primary.start()

    def _inject_process(self, fault: Fault) -> None:
        name, replica = fault.kind.target, fault.replica
        child = self._deployment.child(name, replica)
        if fault.kind.action == "pause":
            child.pause()
            self._hold(fault)
            child.resume()
            return
        if fault.kind.action == "kill":
            child.kill()
        else:
            child.stop(STOP_GRACE_S)
        self._hold(fault)
        self._deployment.start(name, replica)

    def _hold(self, fault: Fault) -> None:
        self._stop.wait(fault.lasts_s)
