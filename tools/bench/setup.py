"""Subjects and their settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gateway.clients.api_keys import new_key
from tools.bench.cases import AS_SHIPPED, BASE_WORKERS, is_floor

#: Gateways and floors with the echo responder, which costs little and is the same for all.
LEAN = ("floor", "floor-librdkafka", "naive", "ours", "ours-broadcast")
SUBJECTS = (*AS_SHIPPED, *LEAN)
#: Variants, measured on demand only.
VARIANTS = ("shipped-without-key", "textbook-flush", "floor-shipped-librdkafka")
DEFAULT_SUBJECTS = tuple(name for name in SUBJECTS if name not in VARIANTS)
#: The topics of routes.toml and the reply topic.
TOPICS = ("echo", "orders", "replies")


@dataclass(frozen=True)
class Process:
    """A process of a subject: what it runs, where, and with which settings."""

    kind: str  # web, replies or responder
    command: str
    env: dict[str, str]
    folder: Path | None = None


class Foreign(Protocol):
    """A gateway of another project, with its responder."""

    @property
    def topics(self) -> Sequence[str]:
        """Its topics, which have no prefix."""

    @property
    def path(self) -> str:
        """Path that it answers."""

    def processes(self, broker: str, port: int, group: str) -> Iterator[Process]:
        """Yield its processes; *group* is a new consumer group."""


@dataclass(frozen=True)
class Setup:
    """A subject, its settings and its number of processes."""

    subject: str
    workers: int = BASE_WORKERS
    replies: int = 1
    env: dict[str, str] = field(default_factory=dict)  # further settings of ours
    app: str = "wsgi:app"  # WSGI application of ours
    tree: Path | None = None  # source tree of ours; the current one by default
    python: str = "python"  # interpreter of ours
    label: str = ""  # name in reports; the subject by default
    shipped: bool = False  # run the Procfile of ours with default settings
    api_key: str = ""  # required by ours and sent by the load generator, unless empty
    foreign: Foreign | None = None

    @property
    def name(self) -> str:
        """Name in reports."""
        return self.label or self.subject

    @property
    def floor(self) -> bool:
        """Whether it is a floor, which starts once for each case."""
        return is_floor(self.subject)

    @property
    def topics(self) -> Sequence[str]:
        """Names of its topics."""
        return self.foreign.topics if self.foreign else TOPICS

    @property
    def path(self) -> str:
        """Path of the requests."""
        return self.foreign.path if self.foreign else "/echo"


def setup_of(subject: str, env: dict[str, str]) -> Setup:
    """Return the setup of *subject*; *env* has further settings of ours."""
    if subject in ("shipped", "shipped-without-key"):
        api_key = new_key() if subject == "shipped" else ""
        return Setup(subject, env=env, shipped=True, api_key=api_key)
    return Setup(subject, env=env)
