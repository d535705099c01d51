"""
Accounts: what became of each record, joined from topics, events and responses.

Each delivery of a record has one outcome at most, and each record has one at least: a reply of its
handler, a dead letter, or expiry. So a record that was delivered once has exactly one.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tools.soak.dead_letters.events import CALLS, Did, Event
from tools.soak.dead_letters.fates import Fate
from tools.soak.dead_letters.load import Response

Position = tuple[int, int]  # partition and offset

#: Reasons of the dead letters of each fate. A retry may be too late for its deadline.
REASONS = {
    Fate.ANSWERED: (),
    Fate.FAILED: ("handler-failed",),
    Fate.RETRIED: ("retries-exhausted",),
    Fate.EXHAUSTED: ("retries-exhausted",),
    Fate.MALFORMED: ("malformed", "reply-topic-refused"),
}
#: Fates of records that a handler may answer.
ANSWERABLE = (Fate.ANSWERED, Fate.RETRIED)


@dataclass(frozen=True)
class Sent:
    """A record in the request topic."""

    partition: int
    offset: int
    correlation_id: str
    fate: Fate

    @property
    def position(self) -> Position:
        """Partition and offset."""
        return self.partition, self.offset


@dataclass(frozen=True)
class Letter:
    """A record in the dead-letter topic; copies of one dead letter are equal."""

    partition: int
    offset: int
    time_ms: int
    reason: str


@dataclass
class Accounts:
    """
    The records of one run and what became of them.

    Args:
        answered: correlation ids of the replies with status 200.
        letters: all records in the dead-letter topic.
        events: in the order in which they were recorded.
    """

    sent: Sequence[Sent]
    answered: Sequence[str]
    letters: Sequence[Letter]
    events: Sequence[Event]
    responses: Sequence[Response]
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.taken = Counter((e.partition, e.offset) for e in self.events if e.did == Did.TOOK)
        self._events = Counter((e.correlation_id, e.did) for e in self.events)
        self._answered = set(self.answered)
        self._letters: dict[Position, set[Letter]] = defaultdict(set)
        for letter in self.letters:
            self._letters[letter.partition, letter.offset].add(letter)
        for one in self.sent:
            self.outcomes[" + ".join(self._kinds(one)) or "none"] += 1

    @property
    def copies(self) -> int:
        """Number of dead letters that were appended again because an acknowledgement was lost."""
        return len(self.letters) - len(set(self.letters))

    def failures(self) -> Iterator[str]:
        """Yield a line for each broken promise."""
        for one in self.sent:
            yield from self._failures_of(one)
        known = {one.position for one in self.sent}
        yield from (f"UNKNOWN: {a}" for p, s in self._letters.items() if p not in known for a in s)
        yield from self._contradictions()
        yield from out_of_order(self.events)

    def _kinds(self, one: Sent) -> list[str]:
        has_id = one.fate is not Fate.MALFORMED
        kinds = {
            "answered": has_id and one.correlation_id in self._answered,
            "dead-lettered": bool(self._letters[one.position]),
            "expired": has_id and bool(self._events[one.correlation_id, Did.EXPIRED]),
        }
        return [kind for kind, applies in kinds.items() if applies]

    def _failures_of(self, one: Sent) -> Iterator[str]:
        kinds, letters = self._kinds(one), self._letters[one.position]
        if not kinds:
            yield f"LOST: {one}, delivered {self.taken[one.position]} times"
        if "answered" in kinds and one.fate not in ANSWERABLE:
            yield f"WRONG: {one} was answered"
        for letter in letters:
            if letter.reason not in REASONS[one.fate]:
                yield f"WRONG: {one} was dead-lettered as {letter.reason}"
        ends = len(letters)
        if one.fate is not Fate.MALFORMED:
            cid = one.correlation_id
            ends += self._events[cid, Did.ANSWERED] + self._events[cid, Did.EXPIRED]
        if ends > self.taken[one.position]:
            yield f"TWICE: {one} ended {ends} times in {self.taken[one.position]} deliveries"

    def _contradictions(self) -> Iterator[str]:
        """Yield the responses that say something else than the topics."""
        position = {one.correlation_id: one.position for one in self.sent}
        for seen in self.responses:
            letters = self._letters.get(position.get(seen.correlation_id, (-1, -1)), set())
            reasons = {letter.reason for letter in letters}
            if seen.status == 200 and seen.correlation_id not in self._answered:
                yield f"CONTRADICTION: {seen}, but no reply"
            if seen.status == 500 and "handler-failed" not in reasons:
                yield f"CONTRADICTION: {seen}, dead letters: {reasons or 'none'}"
            if seen.title == "Try again later" and "retries-exhausted" not in reasons:
                yield f"CONTRADICTION: {seen}, dead letters: {reasons or 'none'}"


def out_of_order(events: Iterable[Event]) -> Iterator[str]:
    """
    Yield the requests that a process handled before an earlier one with their key.

    Also those that it handled between two attempts of an earlier one.
    """
    records: dict[tuple[int, str], Event] = {}  # by process and id: its delivery
    taken: Counter[Position] = Counter()
    last: dict[tuple[int, int, str], Event] = {}  # by process, partition and key: handled last
    passed: set[tuple[int, str]] = set()  # records behind which another was handled
    for event in events:
        record_id = event.pid, event.correlation_id
        if event.did == Did.TOOK:
            records[record_id] = event
            taken[event.partition, event.offset] += 1
            passed.discard(record_id)
        elif event.did in CALLS and record_id in records:
            record = records[record_id]
            lane = event.pid, record.partition, record.key
            before = last.get(lane)
            is_first_delivery = taken[record.partition, record.offset] == 1
            if before is not None and before != record:
                passed.add((event.pid, before.correlation_id))
                if record.offset < before.offset and is_first_delivery:
                    yield f"ORDER: {record} was handled after {before}"
            if record_id in passed:
                yield f"ORDER: {record} had another attempt after {before}"
            last[lane] = record
