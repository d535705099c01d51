"""
What each client should have got, against what it got.

The log of the clients, the ledger of the responders and what is left in Redis are joined by number
and correlation id. Nothing is judged by counting.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tools.soak.judge.windows import Windows
from tools.soak.ledger import Effect
from tools.soak.load.tasks import Task, digest, number_in
from tools.soak.records import LateLook, Seen

#: An answer comes at most so long after the reply timeout.
TOO_LATE_S = 1.0
#: A request that was executed so long before its deadline has to get its reply.
EARLY_S = 2.0

#: The gateway's errors that a fault may cause, and what they may say about "sent".
DESIGNED = {
    "overloaded": {"no"},
    "shutting-down": {"no"},
    "responder-silent": {"no"},
    "not-sent": {"no", "unknown"},
    "reply-timeout": {"yes", "unknown"},
    "reply-store-unavailable": {"no", "yes", "unknown"},
}
ERROR_STATUS = 503


class Verdict(StrEnum):
    """What a request's ending was."""

    OWN = "own answer"
    BY_DESIGN = "timeout by design"  # its handler takes longer than the gateway waits
    ERROR = "error in a fault"  # one of DESIGNED, and what it says about "sent" is true
    BROKEN = "connection broken in a fault"
    WRONG = "wrong"  # another request's answer
    MIXED_UP = "mixed up"  # parts of its own and of another's
    TRUNCATED = "truncated"
    LIE = "lie"  # "sent: no" and executed; or answered and not executed
    TOO_LATE = "too late"
    LOST = "lost"  # its reply was there and should have reached it
    UNPROVOKED = "unprovoked"  # an error, and no fault far and wide
    UNCLASSIFIED = "unclassified"


GOOD = {Verdict.OWN, Verdict.BY_DESIGN, Verdict.ERROR, Verdict.BROKEN}


@dataclass(frozen=True)
class Judgement:
    """The verdict on one request, and the reason where it needs one."""

    seen: Seen
    verdict: Verdict
    why: str = ""

    def __str__(self) -> str:
        seen = self.seen
        return (
            f"{self.verdict.upper()}: request {seen.number} ({seen.correlation_id or 'no id'}) "
            f"at {seen.sent_s:.3f} s, after {seen.took_s:.3f} s, gateway {seen.gateway}: {self.why}"
        )


class Oracle:
    """
    Judges the requests of one run.

    Args:
        seed, timeout_s: see Task.
        effects: what the responders did.
        windows: around the faults.
        stored: status and body digest of the replies left in Redis, by correlation id.
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

    def judge(self, seen: Seen) -> Judgement:
        """Return the verdict on *seen*."""
        if seen.error:
            verdict, why = self._broken(seen)
        elif seen.problem:
            verdict, why = self._error(seen)
        else:
            verdict, why = self._answer(seen)
        if verdict in GOOD and seen.took_s > self._limit_s(seen):
            verdict, why = Verdict.TOO_LATE, f"{verdict} {why}".strip()
        return Judgement(seen, verdict, why)

    def judge_late(self, look: LateLook) -> str:
        """Return what became of a request that had timed out; "WRONG ..." is a failure."""
        task = self._task(look.number)
        answer = (task.status, digest(task.answer(look.correlation_id)))
        if (look.status, look.digest) == answer:
            return "reply fetched"
        if look.problem in ("reply-expired", "reply-store-unavailable"):
            return look.problem
        if look.status == 202:
            return "pending"
        return f"WRONG: {look.status} {look.problem} for {look.correlation_id}"

    def strangers(self, numbers: Iterable[int]) -> list[Effect]:
        """Return what was executed and is not what a client, of one of *numbers*, had sent."""
        known = set(numbers)
        return [
            effect
            for number, effects in self._effects.items()
            for effect in effects
            if number not in known or effect.digest != digest(self._task(number).body)
        ]

    def repeated(self) -> Counter[int]:
        """Return how many correlation ids were executed how often, where more than once."""
        times = Counter(e.correlation_id for effects in self._effects.values() for e in effects)
        return Counter(count for count in times.values() if count > 1)

    def _broken(self, seen: Seen) -> tuple[Verdict, str]:
        touching = self._windows.touching(seen.sent_s, seen.answered_s)
        if any(fault.breaks_connections for fault in touching):
            return Verdict.BROKEN, seen.error
        if "IncompleteRead" in seen.error:
            return Verdict.TRUNCATED, seen.error
        return Verdict.UNCLASSIFIED, f"{seen.error}, and no fault broke connections"

    def _error(self, seen: Seen) -> tuple[Verdict, str]:
        why = f"{seen.status} {seen.problem}, sent: {seen.sent or '-'}"
        if seen.status != ERROR_STATUS or seen.sent not in DESIGNED.get(seen.problem, ()):
            return Verdict.UNCLASSIFIED, why
        effects = self._effects.get(seen.number, [])
        if seen.sent == "no" and effects:
            return Verdict.LIE, f"{why}, but it was executed as {effects[0].correlation_id}"
        if seen.problem == "reply-timeout" and self._task(seen.number).is_beyond_timeout:
            return Verdict.BY_DESIGN, why
        if self._windows.touching(seen.sent_s, seen.answered_s):
            return Verdict.ERROR, why
        return self._without_fault(seen, effects, why)

    def _without_fault(self, seen: Seen, effects: list[Effect], why: str) -> tuple[Verdict, str]:
        deadline_s = seen.sent_s + self._timeout_s
        early = [effect for effect in effects if effect.at_s <= deadline_s - EARLY_S]
        if early:
            return (
                Verdict.LOST,
                f"{why}, executed {deadline_s - early[0].at_s:.3f} s before its end",
            )
        if seen.problem == "reply-timeout":
            return Verdict.LOST, f"{why}, executed {len(effects)} times, none of them early"
        return Verdict.UNPROVOKED, why

    def _answer(self, seen: Seen) -> tuple[Verdict, str]:
        task = self._task(seen.number)
        right = task.answer(seen.correlation_id)
        if (seen.status, seen.digest) != (task.status, digest(right)):
            return self._not_its_own(seen, task, right)
        ids = {effect.correlation_id for effect in self._effects.get(seen.number, ())}
        if not ids:
            return Verdict.LIE, f"answered {seen.status} and not executed"
        if seen.correlation_id not in ids:
            return Verdict.MIXED_UP, f"executed as {', '.join(sorted(ids))}"
        stored = self._stored.get(seen.correlation_id)
        if stored not in (None, (seen.status, seen.digest)):
            return Verdict.MIXED_UP, "Redis holds another reply for it"
        return Verdict.OWN, ""

    def _not_its_own(self, seen: Seen, task: Task, right: bytes) -> tuple[Verdict, str]:
        body = seen.body
        why = f"status {seen.status} with {seen.length} bytes for {task.status} with {len(right)}"
        if seen.length < len(right) and right.startswith(body):
            return Verdict.TRUNCATED, why
        number = number_in(body)
        if number == seen.number or seen.digest == digest(right):
            return Verdict.MIXED_UP, why
        if number is not None:
            return Verdict.WRONG, f"{why}: the answer to {number}"
        return Verdict.UNCLASSIFIED, f"{why}: {body[:200]!r}"

    def _limit_s(self, seen: Seen) -> float:
        # A worker that is stopped cannot answer; everyone else has to keep to the time.
        paused_s = self._windows.paused_s("pause worker", seen.sent_s, seen.answered_s)
        return self._timeout_s + TOO_LATE_S + paused_s

    def _task(self, number: int) -> Task:
        return Task(self._seed, number, self._timeout_s)
