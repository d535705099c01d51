"""Rows of the JSON-lines logs: exchanges of clients, and injected faults."""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, TypeVar


@dataclass(frozen=True)
class Exchange:
    """
    One request and its response, as the client saw them. Times are monotonic.

    Args:
        error: why there was no complete response, or "".
        problem: last part of the problem type of a gateway's error, or "".
        unexpected_body: the body in base64 if it was not the expected one.
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
    unexpected_body: str = ""

    @property
    def ended_s(self) -> float:
        """When the response was complete or the error occurred."""
        return self.sent_s + self.took_s

    @property
    def body(self) -> bytes:
        """The unexpected body, decoded."""
        return base64.b64decode(self.unexpected_body)


@dataclass(frozen=True)
class LateFetch:
    """The response to ``GET /replies/<id>`` some time after a timeout."""

    number: int
    correlation_id: str
    fetched_s: float
    status: int
    digest: str
    problem: str = ""


@dataclass(frozen=True)
class InjectedFault:
    """One fault as it was injected. Times are monotonic."""

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
    """Yield the rows in *lines*, without an incomplete last line."""
    for line in lines:
        if line.endswith("\n"):
            yield kind(**json.loads(line))


def read(kind: type[Row], file: Path) -> list[Row]:
    """Return the rows in *file*; empty when it is missing."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8") as lines:
        return list(parse(kind, lines))
