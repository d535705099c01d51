"""
Compares each response with the correct one.

The log of the clients, the ledger of the responders and the replies in Redis are joined by number
and correlation id.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tools.soak.judge.windows import Windows
from tools.soak.ledger import Effect
from tools.soak.load.tasks import Task, digest, number_in
from tools.soak.records import Exchange, LateFetch

#: Maximum time from the reply timeout to a response, in seconds.
LATENESS_LIMIT_S = 1.0
#: An execution this long before the deadline must lead to a reply, in seconds.
EARLY_S = 2.0

#: Errors of the gateway that a fault may cause, and their possible values of "sent".
EXPECTED_ERRORS = {
    "overloaded": {"no"},
    "shutting-down": {"no"},
    "responder-silent": {"no"},
    "token-keys-unavailable": {"no"},
    "not-sent": {"no", "unknown"},
    "reply-timeout": {"yes", "unknown"},
    "reply-store-unavailable": {"no", "yes", "unknown"},
}
#: How a request ends whose reply comes too late; the second while Redis does not answer.
LATE = ("reply-timeout", "reply-store-unavailable")
ERROR_STATUS = 503


class Verdict(StrEnum):
    """The verdict on a request."""

    CORRECT = "correct response"
    BY_DESIGN = "timeout by design"  # the handler takes longer than the gateway waits
    ERROR = "error during a fault"  # one of EXPECTED_ERRORS, with a true "sent"
    BROKEN = "connection broken during a fault"
    WRONG = "response to another request"
    MIXED = "mixed with another response"
    TRUNCATED = "truncated"
    CONTRADICTION = "contradicts the ledger"  # "sent: no" and executed, or success and not executed
    TOO_LATE = "too late"
    LOST = "lost reply"  # executed early enough
    UNPROVOKED = "error without a fault"
    UNCLASSIFIED = "unclassified"


ACCEPTABLE = {Verdict.CORRECT, Verdict.BY_DESIGN, Verdict.ERROR, Verdict.BROKEN}


@dataclass(frozen=True)
class Judgement:
    """The verdict on one request, with a reason unless it is correct."""

    exchange: Exchange
    verdict: Verdict
    reason: str = ""

    def __str__(self) -> str:
        seen = self.exchange
        return (
            f"{self.verdict.upper()}: request {seen.number} ({seen.correlation_id or 'no id'}) "
            f"at {seen.sent_s:.3f} s, after {seen.took_s:.3f} s, gateway {seen.gateway}: "
            f"{self.reason}"
        )


class Oracle:
    """
    Judges the requests of one run.

    Args:
        seed, timeout_s: see Task.
        effects: executions of the responders.
        windows: around the faults.
        stored: status and body digest of the replies in Redis, by correlation id.
    """

    def __init__(
        self,
        seed: int,
        timeout_s: float,
        effects: Iterable[Effect],
        windows: Windows,
        stored: Mapping[str, tuple[int, str]],
    ) -> None:
        self._seed = seed
        self._timeout_s = timeout_s
        self._windows = windows
        self._stored = stored
        self._effects: dict[int, list[Effect]] = defaultdict(list)
        for effect in effects:
            self._effects[effect.number].append(effect)

    def judge(self, seen: Exchange) -> Judgement:
        """Return the verdict on *seen*."""
        if seen.error:
            verdict, reason = self._broken(seen)
        elif seen.problem:
            verdict, reason = self._error(seen)
        else:
            verdict, reason = self._response(seen)
        if verdict in ACCEPTABLE and seen.took_s > self._limit_s(seen):
            verdict, reason = Verdict.TOO_LATE, f"{verdict} {reason}".strip()
        return Judgement(seen, verdict, reason)

    def judge_late_fetch(self, fetch: LateFetch) -> str:
        """Return the outcome of fetching a late reply; "WRONG ..." is a failure."""
        task = self._task(fetch.number)
        if (fetch.status, fetch.digest) in task.responses(fetch.correlation_id):
            return "reply fetched"
        if fetch.problem in ("reply-expired", "reply-store-unavailable"):
            return fetch.problem
        if fetch.status == 202:
            return "pending"
        return f"WRONG: {fetch.status} {fetch.problem} for {fetch.correlation_id}"

    def unknown_effects(self, numbers: Iterable[int]) -> list[Effect]:
        """Return executions of requests that no client sent; clients sent *numbers*."""
        known = set(numbers)
        return [
            effect
            for number, effects in self._effects.items()
            for effect in effects
            if number not in known or effect.digest != digest(self._task(number).body)
        ]

    def repeated(self) -> Counter[int]:
        """Return the number of correlation ids by times of execution, if more than once."""
        times = Counter(e.correlation_id for effects in self._effects.values() for e in effects)
        return Counter(count for count in times.values() if count > 1)

    def _broken(self, seen: Exchange) -> tuple[Verdict, str]:
        overlapping = self._windows.overlapping(seen.sent_s, seen.ended_s)
        if any(fault.breaks_connections for fault in overlapping):
            return Verdict.BROKEN, seen.error
        if "IncompleteRead" in seen.error:
            return Verdict.TRUNCATED, seen.error
        return Verdict.UNCLASSIFIED, f"{seen.error}, but no fault broke connections"

    def _error(self, seen: Exchange) -> tuple[Verdict, str]:
        reason = f"{seen.status} {seen.problem}, sent: {seen.sent or '-'}"
        if seen.status != ERROR_STATUS or seen.sent not in EXPECTED_ERRORS.get(seen.problem, ()):
            return Verdict.UNCLASSIFIED, reason
        effects = self._effects.get(seen.number, [])
        if seen.sent == "no" and effects:
            return (
                Verdict.CONTRADICTION,
                f"{reason}, but it was executed as {effects[0].correlation_id}",
            )
        if seen.problem in LATE and self._task(seen.number).is_beyond_timeout:
            return Verdict.BY_DESIGN, reason
        if self._windows.overlapping(seen.sent_s, seen.ended_s):
            return Verdict.ERROR, reason
        return self._without_fault(seen, effects, reason)

    def _without_fault(
        self, seen: Exchange, effects: list[Effect], reason: str
    ) -> tuple[Verdict, str]:
        deadline_s = seen.sent_s + self._timeout_s
        early = [effect for effect in effects if effect.at_s <= deadline_s - EARLY_S]
        if early:
            return (
                Verdict.LOST,
                f"{reason}, executed {deadline_s - early[0].at_s:.3f} s before its deadline",
            )
        if seen.problem == "reply-timeout":
            return Verdict.LOST, f"{reason}, executed {len(effects)} times, none of them early"
        return Verdict.UNPROVOKED, reason

    def _response(self, seen: Exchange) -> tuple[Verdict, str]:
        task = self._task(seen.number)
        correct = task.responses(seen.correlation_id)
        if (seen.status, seen.digest) not in correct:
            return self._incorrect(seen, task, task.response_body(seen.correlation_id))
        ids = {effect.correlation_id for effect in self._effects.get(seen.number, ())}
        if not ids:
            return Verdict.CONTRADICTION, f"status {seen.status}, but not executed"
        if seen.correlation_id not in ids:
            return Verdict.MIXED, f"executed as {', '.join(sorted(ids))}"
        stored = self._stored.get(seen.correlation_id)
        # Of two different replies the client may have got the one that came straight.
        if stored is not None and stored not in correct:
            return Verdict.MIXED, "Redis holds another reply"
        return Verdict.CORRECT, ""

    def _incorrect(self, seen: Exchange, task: Task, correct: bytes) -> tuple[Verdict, str]:
        body = seen.body
        expected = f"{task.status} with {len(correct)} bytes"
        reason = f"status {seen.status} with {seen.length} bytes instead of {expected}"
        if seen.length < len(correct) and correct.startswith(body):
            return Verdict.TRUNCATED, reason
        number = number_in(body)
        if number == seen.number or seen.digest == digest(correct):
            return Verdict.MIXED, reason
        if number is not None:
            return Verdict.WRONG, f"{reason}: the response to {number}"
        return Verdict.UNCLASSIFIED, f"{reason}: {body[:200]!r}"

    def _limit_s(self, seen: Exchange) -> float:
        # A paused worker cannot respond.
        paused_s = self._windows.paused_s("pause worker", seen.sent_s, seen.ended_s)
        return self._timeout_s + LATENESS_LIMIT_S + paused_s

    def _task(self, number: int) -> Task:
        return Task(self._seed, number, self._timeout_s)
