"""What is written down during a run: what clients saw, and which faults happened. JSON lines."""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, TypeVar


@dataclass(frozen=True)
class Seen:
    """
    One request as its client saw it. Times are the machine's monotonic clock.

    Args:
        error: why no whole response came, or "".
        problem: the last part of the problem type of a gateway's error, or "".
        kept: the body in base64, where it was not the expected one.
    """

    number: int
    gateway: int
    sent_s: float
    took_s: float
    status: int = 0
    correlation_id: str = ""
    digest: str = ""
    length: int = 0
    problem: str = ""
    sent: str = ""
    error: str = ""
    kept: str = ""

    @property
    def answered_s(self) -> float:
        """When its end was seen."""
        return self.sent_s + self.took_s

    @property
    def body(self) -> bytes:
        """What was kept of the body."""
        return base64.b64decode(self.kept)


@dataclass(frozen=True)
class LateLook:
    """What ``GET /replies/<id>`` gave some time after a request had timed out."""

    number: int
    correlation_id: str
    asked_s: float
    status: int
    digest: str
    problem: str = ""


@dataclass(frozen=True)
class Happened:
    """One fault as it was carried out. Times are the machine's monotonic clock."""

    name: str
    replica: int
    at_s: float
    healed_s: float
    recovery_limit_s: float
    breaks_connections: bool


Row = TypeVar("Row")


def write(file: IO[str], row: Any) -> None:
    """Append *row*, a dataclass, to *file*."""
    file.write(json.dumps(asdict(row)) + "\n")


def parse(kind: type[Row], lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows that *lines* hold; a last one that was cut off is left out."""
    for line in lines:
        if line.endswith("\n"):
            yield kind(**json.loads(line))


def read(kind: type[Row], file: Path) -> list[Row]:
    """Return the rows in *file*; none when it is missing."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8") as lines:
        return list(parse(kind, lines))
