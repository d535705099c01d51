"""One attack on one service, with honest clients and probes beside it."""

import json
import math
import time
from collections import Counter
from contextlib import ExitStack, nullcontext
from pathlib import Path

from tools.attack.attacks.table import ATTACKS
from tools.attack.result import Evidence, Phase, Result, read_exchanges
from tools.attack.service import Service
from tools.attack.thread_limit import no_new_threads
from tools.attack.usage import GatewayUsage
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import start_process
from tools.devstack.waiting import wait_until

#: Attacker processes of one attack. More would leave the server no CPU.
ATTACKERS = 2
#: Time for the observers to start, in seconds.
SETTLE_S = 1.0
BEFORE_S, AFTER_S = 8.0, 10.0
#: Time for processes to end beyond what they were told, in seconds.
SPARE_S = 15.0


class AttackFailed(Exception):
    """Raised when an attacker or an observer did not work, with its output."""


def measure(
    service: Service, tree: str, name: str, strength: int, duration_s: float, folder: Path
) -> Result:
    """Run the attack called *name* for *duration_s* and return what was noticed."""
    attack = ATTACKS[name]
    limit_s = SETTLE_S + BEFORE_S + duration_s + AFTER_S + 4 * SPARE_S
    with ExitStack() as stack:
        prober, probes = _observer(stack, "prober", service, limit_s, folder)
        clients, honest = _observer(stack, "honest_clients", service, limit_s, folder)
        before = _wait(BEFORE_S, SETTLE_S)
        limit = no_new_threads(service.pids) if attack.limits_threads else nullcontext()
        with GatewayUsage(service.pids) as usage, limit:
            begin_s, counts = _attack(name, service.port, attack.number * strength, duration_s)
            during = Phase(begin_s, time.monotonic())
        after = _wait(AFTER_S)
        problem = service.problem()
        for observer in (prober, clients):
            observer.stop(SPARE_S)
    evidence = Evidence(before, during, after, read_exchanges(probes), read_exchanges(honest))
    return Result(
        name, tree, evidence, usage.cpu_s, usage.peak_rss_bytes, usage.replaced, problem, counts
    )


def _wait(duration_s: float, settle_s: float = 0.0) -> Phase:
    time.sleep(settle_s)
    begin_s = time.monotonic()
    time.sleep(duration_s)
    return Phase(begin_s, time.monotonic())


def _observer(
    stack: ExitStack, program: str, service: Service, limit_s: float, folder: Path
) -> tuple[Child, Path]:
    file = (folder / f"{program}.txt").absolute()
    command = f"python -m tools.attack.programs.{program} {service.port} {limit_s} {file}"
    child = start_process(command, {"API_KEY": service.api_key}, folder / f"{program}.log")
    stack.callback(child.stop)
    return child, file


def _attack(name: str, port: int, number: int, duration_s: float) -> tuple[float, Counter[str]]:
    """Run the attacker processes to their end; return when all had begun, and their counts."""
    processes = min(ATTACKERS, number)
    lines: list[list[str]] = [[] for _ in range(processes)]
    children = []
    try:
        for process in range(processes):
            share = math.ceil((number - process) / processes)
            command = (
                f"python -m tools.attack.programs.attacker {name} {port} --number {share} "
                f"--seconds {duration_s} --source 127.0.0.{process + 2}"
            )
            children.append(start_process(command, {}, lines[process].append))
        if not wait_until(lambda: all(lines), SPARE_S, poll_s=0.01):
            raise AttackFailed(f"an attacker of {name} did not begin")
        begin_s = time.monotonic()
        codes = [child.wait(duration_s + SPARE_S) for child in children]
    finally:
        for child in children:
            child.stop()
    if any(codes):
        printed = "\n".join(line for output in lines for line in output)
        raise AttackFailed(f"an attacker of {name} ended with {codes}:\n{printed}")
    counts: Counter[str] = Counter()
    for output in lines:
        counts.update(json.loads(output[-1]))
    return begin_s, counts
