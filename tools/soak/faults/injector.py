"""Carries faults out on the deployment, one after the other."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tools.devstack.process.server import Server
from tools.soak.deployment import STOP_GRACE_S, Topology
from tools.soak.faults.schedule import LAST_S, Fault
from tools.soak.judge.recovery import SPAN_S
from tools.soak.records import Happened, write

DELAY_S = 0.2


class Disturber:
    """
    Disturbs *topology* by the *faults*, in a thread of its own from start() on.

    Args:
        log: the file to which each fault is added once it is over.
    """

    def __init__(self, topology: Topology, faults: Sequence[Fault], log: Path) -> None:
        self._topology = topology
        self._faults = faults
        self._log = log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disturber", daemon=True)
        self._start_s = self._end_s = 0.0  # monotonic clock
        #: What is disturbed now.
        self.current = ""
        self.happened: list[Happened] = []
        #: Processes that had ended and nobody had asked them to.
        self.ended: list[str] = []
        #: Why it could not go on, if so.
        self.failure: Exception | None = None

    def start(self, start_s: float, end_s: float) -> None:
        """Begin; the schedule counts from *start_s*, and the load ends at *end_s*."""
        self._start_s, self._end_s = start_s, end_s
        self._thread.start()

    def stop(self) -> None:
        """Heal what holds and begin nothing more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        free_s = 0.0
        try:
            for fault in self._faults:
                # Healing may take longer than the schedule thought.
                due_s = max(self._start_s + fault.at_s, free_s)
                late = due_s > self._end_s - LAST_S
                if late or self._stop.wait(max(0.0, due_s - time.monotonic())):
                    return
                self.ended += self._topology.revive()
                self._carry_out(fault)
                free_s = time.monotonic() + fault.kind.recovery_limit_s + SPAN_S
        except Exception as error:  # noqa: BLE001 - whoever waits for us reports it
            self.failure = error

    def _carry_out(self, fault: Fault) -> None:
        kind = fault.kind
        self.current = f"{kind.name} {fault.replica} ({fault.lasts_s:.1f} s)"
        at_s = time.monotonic()
        self._disturb(fault)
        healed_s = time.monotonic()
        limits = (kind.recovery_limit_s, kind.breaks_connections)
        happened = Happened(kind.name, fault.replica, at_s, healed_s, *limits)
        self.happened.append(happened)
        with self._log.open("a", encoding="utf-8") as file:
            write(file, happened)
        self.current = ""

    def _disturb(self, fault: Fault) -> None:
        target = fault.kind.target
        if fault.kind.action in ("delay", "blackhole", "reset"):
            self._disturb_network(fault)
        elif target == "worker":
            self._disturb_worker(fault)
        elif target in ("redis", "kafka"):
            self._disturb_server(fault)
        else:
            self._disturb_process(fault)

    def _disturb_network(self, fault: Fault) -> None:
        proxy = self._topology.proxies[fault.kind.target]
        if fault.kind.action == "delay":
            proxy.delay(DELAY_S)
        elif fault.kind.action == "blackhole":
            proxy.blackhole()
        else:
            proxy.reset()
        self._hold(fault)
        proxy.heal()

    def _disturb_worker(self, fault: Fault) -> None:
        pid = self._topology.workers(fault.replica)[0]
        if fault.kind.action == "kill":
            os.kill(pid, signal.SIGKILL)
            return
        os.kill(pid, signal.SIGSTOP)
        self._hold(fault)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _disturb_server(self, fault: Fault) -> None:
        kafka = fault.kind.target == "kafka"
        server: Server = self._topology.kafka if kafka else self._topology.redis
        if fault.kind.action == "pause":
            server.pause()
            self._hold(fault)
            server.resume()
            return
        server.kill()
        if not kafka:  # the start of a broker takes long enough
            self._hold(fault)
        server.start()
        if kafka:
            self._topology.create_topics()

    def _disturb_process(self, fault: Fault) -> None:
        name, replica = fault.kind.target, fault.replica
        child = self._topology.child(name, replica)
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
        self._topology.start(name, replica)

    def _hold(self, fault: Fault) -> None:
        self._stop.wait(fault.lasts_s)
