"""Which fault happens when: a pure function of the seed and the length of the run."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

#: The load runs undisturbed for so long first; against it the rest is measured.
QUIET_S = 20.0
#: No fault begins so shortly before the end, so that each recovery is seen.
LAST_S = 15.0
#: From the limit of a recovery to the next fault: it has to be seen that it was kept.
SPARE_S = (2.2, 3.0)


@dataclass(frozen=True)
class Kind:
    """
    One way to disturb the deployment.

    Args:
        name: what is done, and to what.
        lasts_s: between which bounds it is chosen how long it is held.
        recovery_limit_s: so long after healing the throughput is back.
        breaks_connections: whether clients of the gateway may lose theirs.
    """

    name: str
    lasts_s: tuple[float, float]
    recovery_limit_s: float = 10.0
    breaks_connections: bool = False

    @property
    def action(self) -> str:
        """What is done."""
        return self.name.partition(" ")[0]

    @property
    def target(self) -> str:
        """To what it is done."""
        return self.name.partition(" ")[2]


PAUSE, RESTART, ROLLING, BLACKHOLE = (1.5, 5.0), (1.0, 2.0), (0.5, 1.0), (2.0, 4.0)
REDIS_LIMIT_S = 3.0

KINDS = (
    Kind("kill replies", RESTART),
    Kind("kill responder", RESTART),
    Kind("kill worker", (0.0, 0.0), breaks_connections=True),
    Kind("kill redis", RESTART, REDIS_LIMIT_S),
    Kind("kill kafka", (5.0, 5.0)),
    Kind("restart replies", ROLLING),
    Kind("restart responder", ROLLING),
    Kind("restart gateway", ROLLING, breaks_connections=True),
    Kind("pause replies", PAUSE),
    Kind("pause responder", PAUSE),
    Kind("pause worker", PAUSE),
    Kind("pause redis", PAUSE, REDIS_LIMIT_S),
    Kind("pause kafka", PAUSE),
    Kind("delay redis", BLACKHOLE, REDIS_LIMIT_S),
    Kind("delay kafka", BLACKHOLE),
    Kind("blackhole redis", BLACKHOLE, REDIS_LIMIT_S),
    Kind("blackhole kafka", BLACKHOLE),
    Kind("reset redis", (0.0, 0.0), REDIS_LIMIT_S),
    Kind("reset kafka", (0.0, 0.0)),
)


@dataclass(frozen=True)
class Fault:
    """
    One entry of the schedule.

    Args:
        at_s: when it begins, in seconds from the start of the load.
        kind: what happens.
        replica: which of the replicas it happens to: 0 or 1.
        lasts_s: how long it is held before it is healed.
    """

    at_s: float
    kind: Kind
    replica: int
    lasts_s: float


def schedule(seed: int, minutes: float) -> list[Fault]:
    """Return the faults of a run in order; each kind comes once before any comes again."""
    random = Random(f"schedule/{seed}")
    kinds = _in_turn(random)
    faults: list[Fault] = []
    at_s = QUIET_S
    while at_s <= minutes * 60 - LAST_S:
        kind = next(kinds)
        fault = Fault(at_s, kind, random.randrange(2), random.uniform(*kind.lasts_s))
        faults.append(fault)
        at_s += fault.lasts_s + kind.recovery_limit_s + random.uniform(*SPARE_S)
    return faults


def _in_turn(random: Random) -> Iterator[Kind]:
    while True:
        yield from random.sample(KINDS, len(KINDS))
