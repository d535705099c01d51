"""The kinds of load: each varies one thing of a base case."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Floors have no workers; they run the cases that have this many.
BASE_WORKERS = 2


@dataclass(frozen=True)
class Case:
    """One kind of load; each connection sends its next request on a response."""

    name: str
    connections: int = 64
    body_bytes: int = 200
    delay_s: float = 0.0  # of the responder
    workers: int = BASE_WORKERS

    def __str__(self) -> str:
        delay = f", {self.delay_s * 1e3:g} ms delay" if self.delay_s else ""
        return f"{self.connections} connections, {self.body_bytes} B{delay}, {self.workers} workers"


BASE = "c64"
#: Subjects with a responder of their own: the Procfile, a textbook gateway, the floor.
AS_SHIPPED = (
    "shipped",
    "shipped-without-key",
    "textbook",
    "textbook-flush",
    "floor-shipped",
    "floor-shipped-librdkafka",
)
#: In the order of measurement: many waiters first, before another load has grown threads and
#: memory, and large bodies last.
CASES = (
    Case("1s", connections=200, delay_s=1.0),
    Case("50ms", delay_s=0.05),
    Case("c1", connections=1),
    Case("c16", connections=16),
    Case(BASE),
    Case("c256", connections=256),
    Case("c500", connections=500),
    Case("10kB", connections=16, body_bytes=10_000),
    Case("500kB", connections=16, body_bytes=500_000),
    Case("w1", workers=1),
    Case("w4", workers=4),
)


def cases_named(names: Iterable[str]) -> list[Case]:
    """
    Return the cases called *names*, in the order of CASES.

    Raises:
        ValueError: naming the unknown ones.
    """
    wanted = set(names)
    if unknown := wanted - {case.name for case in CASES}:
        raise ValueError(f"no such case: {', '.join(sorted(unknown))}")
    return [case for case in CASES if case.name in wanted]


def by_workers(cases: Iterable[Case]) -> dict[int, list[Case]]:
    """Return *cases* by number of workers; each number needs a start of its own."""
    found: dict[int, list[Case]] = {}
    for case in cases:
        found.setdefault(case.workers, []).append(case)
    return found


def starts(subjects: Sequence[str], cases: Iterable[Case]) -> list[tuple[str, int, list[Case]]]:
    """Return the starts of one round: subject, number of workers, and cases to run."""
    return [
        (subject, workers, own)
        for workers, of_workers in by_workers(cases).items()
        for subject in subjects
        if (own := [case for case in of_workers if runs(subject, case)])
    ]


def runs(subject: str, case: Case) -> bool:
    """Return whether *subject* can run *case*."""
    if subject in AS_SHIPPED:
        return case.workers == BASE_WORKERS and not case.delay_s
    return case.workers == BASE_WORKERS or not is_floor(subject)


def is_floor(subject: str) -> bool:
    """Return whether *subject* is a floor: request and reply without HTTP and Redis."""
    return subject.startswith("floor")
