"""The schedule of faults: a pure function of seed and length of the run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

#: Load without faults at the start, to measure the undisturbed rate, in seconds.
LEAD_S = 20.0
#: Load without a new fault at the end, to see the last recovery, in seconds.
TAIL_S = 15.0
#: Range of the time from the limit of a recovery to the next fault, in seconds.
SPARE_S = (2.2, 3.0)


@dataclass(frozen=True)
class Kind:
    """
    One kind of fault.

    Args:
        name: action and target.
        lasts_s: range of its duration.
        recovery_limit_s: maximum time from healing to full throughput.
        breaks_connections: whether clients may lose their connections.
    """

    name: str
    lasts_s: tuple[float, float]
    recovery_limit_s: float = 10.0
    breaks_connections: bool = False

    @property
    def action(self) -> str:
        """First word of the name."""
        return self.name.partition(" ")[0]

    @property
    def target(self) -> str:
        """Second word of the name."""
        return self.name.partition(" ")[2]


PAUSE, RESTART, ROLLING, BLACKHOLE = (1.5, 5.0), (1.0, 2.0), (0.5, 1.0), (2.0, 4.0)
REDIS_LIMIT_S = 3.0
#: A replica takes over within 2 to 3 s; the limit counts from then on.
TAKEOVER, PRIMARY_LIMIT_S = (4.0, 6.0), 5.0
#: Consumers refresh their topics every 10 s, and then rejoin their group.
TOPIC_LIMIT_S = 20.0

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
    Kind("kill primary", TAKEOVER, PRIMARY_LIMIT_S),
    Kind("pause primary", TAKEOVER, PRIMARY_LIMIT_S),
    Kind("switch primary", (0.0, 0.0), PRIMARY_LIMIT_S),
    Kind("add partitions", (0.0, 0.0)),
    Kind("recreate topic", RESTART, TOPIC_LIMIT_S),
)
#: Targets of faults that only Apache Kafka can have.
APACHE_TARGETS = ("partitions", "topic")
#: Targets of faults that do not exist without Redis.
STORE_TARGETS = ("redis", "primary", "replies")


@dataclass(frozen=True)
class Fault:
    """
    One entry of the schedule.

    Args:
        at_s: start, in seconds after the start of the load.
        replica: 0 or 1.
        lasts_s: duration until it is healed.
    """

    at_s: float
    kind: Kind
    replica: int
    lasts_s: float


def kinds_of(kafka: str, delivery: str, redis: str) -> list[Kind]:
    """Return the kinds of faults of a deployment; see Deployment for its arguments."""
    impossible = ["primary" if redis == "single" else "redis"]
    if kafka != "apache":
        impossible += APACHE_TARGETS
    if delivery == "no-redis":
        impossible += STORE_TARGETS
    return [kind for kind in KINDS if kind.target not in impossible]


def schedule(seed: int, minutes: float, kinds: Sequence[Kind] = KINDS) -> list[Fault]:
    """Return the faults of a run in order; no kind repeats before all have occurred."""
    random = Random(f"schedule/{seed}")
    in_turn = _in_turn(random, kinds)
    faults: list[Fault] = []
    at_s = LEAD_S
    while at_s <= minutes * 60 - TAIL_S:
        kind = next(in_turn)
        fault = Fault(at_s, kind, random.randrange(2), random.uniform(*kind.lasts_s))
        faults.append(fault)
        at_s += fault.lasts_s + kind.recovery_limit_s + random.uniform(*SPARE_S)
    return faults


def _in_turn(random: Random, kinds: Sequence[Kind]) -> Iterator[Kind]:
    while True:
        yield from random.sample(kinds, len(kinds))
