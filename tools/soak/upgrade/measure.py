"""Load while the processes are replaced."""

import time
from pathlib import Path

from tools.soak.judge.findings import find
from tools.soak.run import collect, effects_in, load, watch
from tools.soak.upgrade.releases import MixedDeployment
from tools.soak.upgrade.result import Upgrade, handled, stored, twice
from tools.soak.upgrade.roller import Roller

#: Load without a replacement at the start, in seconds.
LEAD_S = 3.0


def measure(deployment: MixedDeployment, minutes: float, per_s: float, folder: Path) -> Upgrade:
    """
    Run load on *deployment* and replace its processes meanwhile.

    Raises:
        RunFailed: when a process could not be replaced, or the clients ended.
    """
    with load(deployment, per_s, folder, checked=True) as clients:
        start_s = time.monotonic()
        time.sleep(LEAD_S)
        roller = Roller(deployment, start_s + minutes * 60)
        roller.start()
        try:
            watch(clients, start_s, minutes * 60, folder, lambda: roller.current, roller.check)
        finally:
            roller.stop()
        end_s = time.monotonic()
    roller.check()
    evidence = collect(deployment, start_s, end_s, folder, [], deployment.restart_ended())
    deployment.stop_processes()  # which makes them log their totals
    responders = {
        effect.correlation_id: release
        for release, file in deployment.ledgers.items()
        for effect in effects_in(file)
    }
    return Upgrade(
        find(evidence, deployment.seed),
        roller.steps,
        roller.problems,
        handled(evidence.exchanges, roller.steps, responders),
        stored(folder),
        list(twice(evidence.exchanges)),
    )
