"""What is varied: one thing at a time, from one base."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: The floors know no workers: they run the cases with this many.
BASE_WORKERS = 2


@dataclass(frozen=True)
class Case:
    """One kind of load: so many connections that each ask again as soon as they are answered."""

    name: str
    connections: int = 64
    body_bytes: int = 200
    delay_s: float = 0.0  # how long the responder takes
    workers: int = BASE_WORKERS

    def __str__(self) -> str:
        delay = f", {self.delay_s * 1e3:g} ms delay" if self.delay_s else ""
        return f"{self.connections} connections, {self.body_bytes} B{delay}, {self.workers} workers"


BASE = "c64"
#: In the order in which they are measured. The many waiters come first, while no other load has
#: made threads and memory grow, and the large bodies last, which leave the most behind.
CASES = (
    Case("1s", connections=200, delay_s=1.0),
    Case("50ms", delay_s=0.05),
    Case("c1", connections=1),
    Case("c16", connections=16),
    Case(BASE),
    Case("c256", connections=256),
    Case("10kB", connections=16, body_bytes=10_000),
    Case("500kB", connections=16, body_bytes=500_000),
    Case("w1", workers=1),
    Case("w4", workers=4),
)


def chosen(names: Iterable[str]) -> list[Case]:
    """
    Return the cases called *names*, in our order.

    Raises:
        ValueError: naming those that there are not.
    """
    wanted = set(names)
    if unknown := wanted - {case.name for case in CASES}:
        raise ValueError(f"no such case: {', '.join(sorted(unknown))}")
    return [case for case in CASES if case.name in wanted]


def by_workers(cases: Iterable[Case]) -> dict[int, list[Case]]:
    """Return *cases* by the number of workers: each number is a start of its own."""
    found: dict[int, list[Case]] = {}
    for case in cases:
        found.setdefault(case.workers, []).append(case)
    return found


def turns(subjects: Sequence[str], cases: Iterable[Case]) -> list[tuple[str, int, list[Case]]]:
    """Return what one round is made of: a subject, its workers, and the cases it then runs."""
    return [
        (subject, workers, of_workers)
        for workers, of_workers in by_workers(cases).items()
        for subject in subjects
        if workers == BASE_WORKERS or not is_floor(subject)
    ]


def is_floor(subject: str) -> bool:
    """Say whether *subject* is a floor: request and reply with nothing in between."""
    return subject.startswith("floor")
