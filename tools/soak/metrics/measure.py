"""Measures: load, faults and reloads, then the comparison of counters."""

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from tools.devstack.waiting import wait_until
from tools.output import print_line
from tools.soak.deployment import Deployment
from tools.soak.faults.injector import FaultInjector
from tools.soak.faults.schedule import KINDS, Kind, schedule
from tools.soak.metrics.comparison import Comparison, compare
from tools.soak.metrics.prometheus import SCRAPE_S, Prometheus
from tools.soak.run import Evidence, collect, load, watch

#: When each gateway is reloaded, as a share of the run: all of its workers are replaced.
RELOADS_AT = (0.4, 0.6)
#: Time for replies that come late to be read, and for the last scrapes, in seconds.
SETTLE_S = 12.0
#: So that the replies in Redis are there to be counted at the end, in seconds.
SETTINGS = {"REPLY_RETENTION_S": "3600"}
RELOAD_LIMIT_S = 30.0


def kinds_of(delivery: str) -> list[Kind]:
    """Return faults that end no process; those of Redis only where it stores few replies."""
    # After a write that timed out, the replies process cannot tell whether it was the first.
    targets = ("kafka", "redis") if delivery == "direct" else ("kafka",)
    actions = ("pause", "delay", "blackhole", "reset")
    return [
        kind
        for kind in KINDS
        if (kind.action in actions and kind.target in targets) or kind.name == "pause responder"
    ]


def measure(deployment: Deployment, minutes: float, per_s: float, folder: Path) -> Comparison:
    """Run load and faults on *deployment*, whose processes serve metrics, and compare."""
    ports = deployment.metrics_ports
    faults = schedule(deployment.seed, minutes, kinds_of(deployment.delivery))
    with ExitStack() as closing:
        prometheus = None
        reason = Prometheus.unavailable_reason()
        if reason is None:
            prometheus = closing.enter_context(Prometheus(ports))
        print_line(
            f"scraped by {'Prometheus and ' if prometheus else ''}prometheus_client's parser"
        )
        injector = FaultInjector(deployment, faults, folder / "faults.jsonl")
        evidence, failures = _run(deployment, injector, minutes, per_s, folder)
        time.sleep(SETTLE_S + 2 * SCRAPE_S)
        if injector.failure is not None:
            failures.append(f"FAULT: {injector.failure!r}")
        return compare(evidence, ports, prometheus, failures)


def _run(
    deployment: Deployment, injector: FaultInjector, minutes: float, per_s: float, folder: Path
) -> tuple[Evidence, list[str]]:
    failures: list[str] = []
    duration_s = minutes * 60
    reloads_s = dict(enumerate(share * duration_s for share in RELOADS_AT))

    with load(deployment, per_s, folder) as clients:
        start_s = time.monotonic()

        def reload_if_due() -> None:
            for replica, at_s in list(reloads_s.items()):
                if time.monotonic() - start_s >= at_s:
                    del reloads_s[replica]
                    failures.extend(_reload(deployment, replica))

        injector.start(start_s, start_s + duration_s)
        try:
            watch(clients, start_s, duration_s, folder, lambda: injector.current, reload_if_due)
        finally:
            injector.stop()
        end_s = time.monotonic()
    time.sleep(SETTLE_S)
    crashed = deployment.restart_ended()
    evidence = collect(deployment, start_s, end_s, folder, injector.injected, crashed)
    failures += [f"CRASHED: {name} ended by itself" for name in crashed]
    failures += [f"NOT RELOADED: gateway {replica}" for replica in reloads_s]
    return evidence, failures


def _reload(deployment: Deployment, replica: int) -> list[str]:
    before = set(deployment.workers(replica))
    os.kill(deployment.child("gateway", replica).pid, signal.SIGHUP)
    replaced = wait_until(lambda: not before & set(deployment.workers(replica)), RELOAD_LIMIT_S)
    print_line(
        f"gateway {replica} reloaded: workers {before} -> {set(deployment.workers(replica))}"
    )
    return [] if replaced else [f"NOT RELOADED: gateway {replica}"]
