"""The gunicorn worker: hosts waitress, which reads requests and writes responses."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from gunicorn.workers.base import Worker

from gateway import metrics
from gateway.clients.admission import SlotRules
from gateway.server.arbiter import unblock_stop_signals
from gateway.server.connection_counts import ConnectionCounts, FairShare
from gateway.server.http.connections import Connections
from gateway.server.http.forwarded import trust_named_proxies
from gateway.server.http.listener import adjustments, listen
from gateway.server.http.refusals import Limits
from gateway.server.http.sockets import Sockets
from gateway.server.request_queue import QueueLimits
from gateway.server.shutdown import ShutdownState
from gateway.server.threads import RequestThreads
from rendezvous.process.monitoring.metrics import show_build

#: Interval of the search for clients that are too slow, in seconds.
SWEEP_INTERVAL_S = 0.25
#: Interval of the worker's heartbeats to the arbiter, which expects one every 30 s, in seconds.
HEARTBEAT_INTERVAL_S = 0.5
#: Extra time a worker keeps serving when signalled directly, not by the arbiter, in seconds.
DIRECT_STOP_DELAY_S = 1.0
#: gunicorn's hooks that would never be called.
_UNCALLED_HOOKS = ("pre_request", "post_request")

#: How often a worker that drains looks whether its threads are done, in seconds.
DRAIN_LOOK_S = 0.01
#: Maximum time for idle threads to end, in seconds.
END_THREADS_S = 1.0


class GatewayWorker(Worker):  # type: ignore[misc]  # gunicorn ships no types
    """
    A worker process: one main loop of waitress, and threads that run the application.

    The main loop reads requests and writes responses, so that only a whole request holds a thread.
    A worker that drains closes its listening sockets at once; the arbiter, which answers late
    connections, closes its own last.
    """

    limits = Limits()
    drain_delay_s = 0.0
    shutdown_state = ShutdownState()
    #: Of all workers of the server.
    connection_counts = ConnectionCounts(1)
    #: The processor core on which it begins (see gateway.server.cpu_affinity).
    core: int | None = None
    #: Which requests take a slot, and how many wait for one.
    slot_rules: SlotRules | None = None
    queue_limits = QueueLimits()
    #: Whether a client with this Authorization header may send a body.
    admits_body: Callable[[str | None], bool] = staticmethod(lambda authorization: True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stop_at_s = float("inf")
        self.next_heartbeat_s = 0.0
        self._next_sweep_s = 0.0
        self.servers: list[Any] = []
        self._sockets: Sockets
        self.connections: Connections
        self.threads: RequestThreads

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Exit when a setting asks for what this worker does not support."""
        if cfg.is_ssl or cfg.proxy_protocol != "off":
            sys.exit("gunicorn's TLS and PROXY protocol are not supported; use a proxy for them")
        for name in _UNCALLED_HOOKS:
            if cfg.settings[name].get() is not cfg.settings[name].default:
                sys.exit(f"gunicorn's hook {name} is not supported; wrap `app` in wsgi.py instead")

    def init_signals(self) -> None:
        """Install the signal handlers, then receive the held signals."""
        super().init_signals()
        unblock_stop_signals()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Drain and stop; with a drain delay, not before the arbiter does."""
        if self.drain_delay_s and not self.shutdown_state.stopping.is_set():
            # Some supervisors signal every process; the arbiter then signals once more.
            stop_at_s = time.monotonic() + self.drain_delay_s + DIRECT_STOP_DELAY_S
            self._stop_at_s = min(self._stop_at_s, stop_at_s)
            return
        self.alive = False
        self._wake()

    def _wake(self) -> None:
        """End the turn of the main loop."""
        for server in self.servers:
            server.trigger.pull_trigger()

    def run(self) -> None:
        """Serve until told to stop, then drain."""
        self._start()
        while self.alive:
            self._turn()
            if time.monotonic() >= self._stop_at_s or not self._has_parent():
                self.alive = False
        self._drain()

    def _start(self) -> None:
        show_build()
        metrics.WORKERS.set(1)
        self.connections = Connections(
            self.limits,
            threads=self.cfg.threads,
            max_connections=self.cfg.worker_connections,
            keepalive_s=self.cfg.keepalive,
            log=self.log,
            share=FairShare(self.connection_counts, self.age),
            count_request=self._count_request,
            reads_body=lambda headers: self.admits_body(headers.get("AUTHORIZATION")),
        )
        self.threads = RequestThreads(
            self.cfg.threads,
            self.log,
            self.slot_rules,
            self.queue_limits,
            self.connections.max_held_bytes,
        )
        application = trust_named_proxies(self.wsgi, self.cfg)
        adj = adjustments(self.limits)
        self._sockets = Sockets()
        self.servers = [
            listen(sock, application, adj, self._sockets, self.threads, self.connections)
            for sock in self.sockets
        ]

    def _turn(self) -> None:
        """Handle what has come, and look after slow clients and the heartbeat."""
        timeout_s = self._idle_s()
        for server in self.servers:
            self._sockets.note(server)  # whether it accepts depends on the time
        self._sockets.turn(timeout_s)
        for server in self.servers:
            server.accept_due()
        now_s = time.monotonic()
        self.threads.reject_overdue(now_s)
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + SWEEP_INTERVAL_S
            self.connections.sweep(now_s)
            self._sockets.note_all()
        if now_s >= self.next_heartbeat_s:
            self.next_heartbeat_s = now_s + HEARTBEAT_INTERVAL_S
            self.notify()
            self._show_load()

    def _show_load(self) -> None:
        metrics.CONNECTIONS.set(len(self.connections.channels))
        metrics.QUEUED.set(len(self.threads.waiting))
        metrics.QUEUE_LIMIT.set(self.queue_limits.max_requests)
        if self.slot_rules is not None:
            metrics.IN_FLIGHT.set(self.slot_rules.admission.in_flight)
            metrics.IN_FLIGHT_LIMIT.set(self.slot_rules.admission.max_in_flight)

    def _idle_s(self) -> float:
        """Return how long the main loop may wait for events."""
        timeout_s = SWEEP_INTERVAL_S if self.connections.channels else HEARTBEAT_INTERVAL_S
        if self.connections.draining:
            timeout_s = min(timeout_s, DRAIN_LOOK_S)
        due_in_s = [self.threads.waiting.next_due_s - time.monotonic()]
        due_in_s += [yields_s for server in self.servers if (yields_s := server.yields_s()) > 0]
        return min(timeout_s, max(0.0, min(due_in_s)))

    def _has_parent(self) -> bool:
        if self.ppid == os.getppid():
            return True
        self.log.info("the arbiter has gone; worker %s drains", self.pid)
        return False

    def _count_request(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("restarting this worker after the current request")
            self.alive = False
            self._wake()

    def _drain(self) -> None:
        """Answer what has been received and what still comes on open connections."""
        for server in self.servers:
            server.stop_accepting()
        give_up_s = time.monotonic() + self.cfg.graceful_timeout
        self.connections.drain()
        while time.monotonic() < give_up_s and (
            self.connections.channels or self.threads.active_count
        ):
            self._turn()
        self.threads.shutdown(timeout=END_THREADS_S)
        servers, self.servers = self.servers, []  # a signal must find no closed one
        if self.threads.threads:
            return  # they write to the wake-up pipe, whose file descriptor could be reused
        for server in servers:
            server.trigger.close()
        self._sockets.close()
