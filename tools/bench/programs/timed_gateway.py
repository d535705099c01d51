"""
Our gateway with a clock on its parts: what each takes of the processor, by its thread's own time.

The clocks cost 2 us or so each; the shares count. Every worker adds its sums, now and then, to the
file that CLOCKS names.
"""

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.http.parser import Parser
from kafka.producer.sender import Sender

import wsgi
from gateway.exchange.mailbox import Mailbox
from gateway.exchange.requester import Requester
from gateway.exchange.waiter import Waiter
from gateway.server.access_log import TextAccessLogger
from gateway.server.http_response import HttpResponse
from gateway.server.worker import GatewayWorker
from gateway.web.fast_path import FastPath, FastRoute
from gateway.web.routes import RouteViews
from rendezvous.kafka_client.patches.quick_producer import FastProducer
from rendezvous.redis_store.replies import ReplyStore

#: Name, class and method of each part; how they nest is in experiments/cpu_profile.py.
PARTS: tuple[tuple[str, type, str], ...] = (
    ("main loop", GatewayWorker, "wait_for_and_dispatch_events"),
    ("request", GatewayWorker, "handle"),
    ("parse", Parser, "__next__"),
    ("application", FastPath, "__call__"),
    ("fast path", FastRoute, "exchange"),
    ("id", Requester, "issue"),
    ("exchange", RouteViews, "_answer"),
    ("send", FastProducer, "send"),
    ("wait", Waiter, "wait"),
    ("write", HttpResponse, "_send"),
    ("access log", TextAccessLogger, "access"),
    ("next request", GatewayWorker, "_expect_request"),
    ("sender", Sender, "run_once"),
    ("poller", Mailbox, "_fetch"),
    ("look", ReplyStore, "fetch_many"),
)
SAVE_PAUSE_S = 0.25


class Clocks:
    """How often each part ran, and for how long."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.spent_s: defaultdict[str, float] = defaultdict(float)

    def put_on(self, name: str, cls: Any, method: str) -> None:
        """Count what *method* of *cls* takes under *name*."""
        clocked: Callable[..., Any] = getattr(cls, method)

        def run(*args: Any, **kwargs: Any) -> Any:
            begun_s = time.thread_time()
            try:
                return clocked(*args, **kwargs)
            finally:
                self.counts[name] += 1
                self.spent_s[name] += time.thread_time() - begun_s

        setattr(cls, method, run)

    def start(self) -> None:
        """Begin to save, in the process that serves."""
        threading.Thread(target=self._save, daemon=True).start()

    def close(self) -> None:
        """Do nothing: what is missing at the end is little."""

    def _save(self) -> None:
        file = Path(f"{os.environ['CLOCKS']}.{os.getpid()}")
        while True:
            time.sleep(SAVE_PAUSE_S)
            sums = {
                name: (self.counts[name], self.spent_s[name]) for name in tuple(self.counts)
            } | {"process": (0, time.process_time())}
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([time.time(), sums]) + "\n")


clocks = Clocks()
for part in PARTS:
    clocks.put_on(*part)
wsgi.lifecycle.add(clocks)
app = wsgi.app
