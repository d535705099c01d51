"""The result of one measurement."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tools.bench.cases import Case


@dataclass(frozen=True)
class Load:
    """What a load generator, wrk or a floor, measured."""

    requests: int
    duration_s: float
    percentiles_s: list[tuple[float, float]]  # each of latencies.PERCENTILES with its latency
    not_2xx: int = 0
    failed: int = 0

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Load":
        """Return the load from the JSON of wrk.lua or of a floor."""
        pairs = [(float(percent), float(s)) for percent, s in found["percentiles_s"]]
        return cls(**{**found, "percentiles_s": pairs})


@dataclass(frozen=True)
class Result:
    """One subject under one case in one round."""

    subject: str
    case: Case
    round: int
    load: Load
    cpu_s: dict[str, float]
    redis_calls: dict[str, int]
    replies_processes: int = 1
    rss_bytes: dict[str, int] = field(default_factory=dict)  # of web: "idle" and "loaded"
    kafka_requests: dict[str, int] = field(default_factory=dict)  # received by the broker, by kind

    @property
    def answered(self) -> int:
        """Number of responses with a status 2xx."""
        return self.load.requests - self.load.not_2xx

    @property
    def per_s(self) -> float:
        """Responses with a status 2xx per second."""
        return self.answered / self.load.duration_s

    @property
    def refused_share(self) -> float:
        """Share of the responses with another status."""
        return self.load.not_2xx / self.load.requests if self.load.requests else 0.0

    @property
    def redis_commands(self) -> int:
        return sum(self.redis_calls.values())

    @property
    def memory_per_waiter_bytes(self) -> float | None:
        """Growth of web's memory from idle to loaded, for each connection."""
        if not self.rss_bytes:
            return None
        return (self.rss_bytes["loaded"] - self.rss_bytes["idle"]) / self.case.connections

    def latency_s(self, percent: float) -> float:
        """Return the latency at *percent*, one of latencies.PERCENTILES."""
        return dict(self.load.percentiles_s)[percent]

    def per_request(self, total: float) -> float:
        """Return *total* divided by the number of responses with a status 2xx."""
        return total / self.answered if self.answered else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return all fields and the figures derived from them."""
        return asdict(self) | {
            "per_s": self.per_s,
            "refused_share": self.refused_share,
            "p50_s": self.latency_s(50),
            "p90_s": self.latency_s(90),
            "p99_s": self.latency_s(99),
            "cpu_us_per_request": {
                kind: round(1e6 * self.per_request(used_s), 1)
                for kind, used_s in self.cpu_s.items()
            },
            "redis_commands_per_request": self.per_request(self.redis_commands),
            "memory_per_waiter_bytes": self.memory_per_waiter_bytes,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Result":
        """Return the result that as_json() made *found* of."""
        given = {name: found[name] for name in cls.__dataclass_fields__ if name in found}
        return cls(**given | {"case": Case(**found["case"]), "load": Load.of(found["load"])})
