"""Makes the access log readable: an aligned line per request, and a summary."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

#: A line of the access log, as text.
_LINE = re.compile(
    r'\S+ "(?P<method>\S+) (?P<path>\S+) \S+" (?P<status>\d{3}) \S+ (?P<fields>duration_ms=.*)'
)
_FIELD = re.compile(r"(\w+)=(\S+)")
#: What probes and the gateway's own pages ask for.
_OWN = re.compile(r"/livez|/readyz|/live/.*|/docs/.*")
#: X-Request-ID of the requests by which `make run` finds out whether the gateway is ready.
PROBE_ID = "devstack"
#: Minimum width of method and path.
WIDTH = 30
#: Colours of a terminal by the first digit of the status, and of what is less important.
_COLOURS = {"2": "32", "3": "36", "4": "33", "5": "31"}
_DIM = "2"
_LEVELS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31"}
_LEVEL = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b")


class Answered(NamedTuple):
    """A request and its response, as the access log has it."""

    method: str
    path: str
    status: str
    fields: dict[str, str]

    @property
    def outcome(self) -> str:
        """The status, and the type of the problem if there is one."""
        return f"{self.status} {self.fields.get('problem_type', '')}".rstrip()

    @property
    def is_of_no_interest(self) -> bool:
        """Whether a probe or a page of the gateway sent it, not a person."""
        if self.fields.get("request_id") == PROBE_ID:
            return True
        return self.status[0] == "2" and bool(_OWN.fullmatch(self.path.partition("?")[0]))

    @property
    def duration_ms(self) -> int:
        return int(self.fields.get("duration_ms", "0"))


class RequestLines:
    """
    Makes lines of the gateway readable, and counts its responses. Thread-safe.

    Args:
        is_coloured: whether the lines are for a terminal.
    """

    def __init__(self, *, is_coloured: bool) -> None:
        self._is_coloured = is_coloured
        self._lock = threading.Lock()
        self._outcomes: dict[str, Counter[str]] = {}
        self._durations_ms: dict[str, Counter[int]] = {}

    def readable(self, line: str) -> str | None:
        """Return *line* in readable form; None to omit it."""
        answered = _parsed(line)
        if answered is None:
            return self._with_level(line)
        if answered.is_of_no_interest:
            return None
        self._count(answered)
        # JSON is for programs.
        return line if line.startswith("{") else self._line(answered)

    def summary(self) -> Iterator[str]:
        """Yield the lines of the summary; none without requests."""
        with self._lock:
            outcomes = {route: Counter(counts) for route, counts in self._outcomes.items()}
            durations = {route: Counter(counts) for route, counts in self._durations_ms.items()}
        if not outcomes:
            return
        width = max(map(len, outcomes))
        number = sum(counts.total() for counts in outcomes.values())
        yield f"{number} {'request' if number == 1 else 'requests'}; times as the gateway saw them"
        for route, counts in sorted(outcomes.items()):
            times = " ".join(
                f"{name} {quantile(durations[route], share):>5} ms"
                for name, share in (("p50", 0.5), ("p99", 0.99))
            )
            shown = ", ".join(f"{n} x {outcome}" for outcome, n in counts.most_common())
            yield f"  {route.ljust(width)}  {counts.total():>7}  {times}  {shown}"

    def _count(self, answered: Answered) -> None:
        route = f"{answered.method} {answered.fields.get('route', '(no route)')}"
        with self._lock:
            self._outcomes.setdefault(route, Counter())[answered.outcome] += 1
            self._durations_ms.setdefault(route, Counter())[answered.duration_ms] += 1

    def _line(self, answered: Answered) -> str:
        fields = answered.fields
        # Without its signature the id is short, and still found in the other processes' lines.
        shown = [fields.get("correlation_id", "-").rpartition(".")[0]]
        shown += [
            f"{name}={fields[name]}"
            for name in ("problem_type", "sent", "client", "request_id", "trace_id")
            if fields.get(name, "-") != "-"
        ]
        path = f"{answered.method:<6} {answered.path}"
        colour = _COLOURS.get(answered.status[0], "0")
        return (
            f"{time.strftime('%H:%M:%S')} {path:<{WIDTH}} "
            f"{self._in(colour, answered.status)} {answered.duration_ms:>6} ms  "
            f"{self._in(_DIM, ' '.join(filter(None, shown)))}"
        ).rstrip()

    def _with_level(self, line: str) -> str:
        found = _LEVEL.search(line[:60])
        return line if found is None else self._in(_LEVELS[found[1]], line)

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._is_coloured and text else text


def quantile(counts: Counter[int], share: float) -> int:
    """Return the value that *share* of what is counted does not exceed."""
    rank = share * counts.total()
    for value, number in sorted(counts.items()):
        rank -= number
        if rank <= 0:
            return value
    return 0


def _parsed(line: str) -> Answered | None:
    if line.startswith("{"):
        return _of_json(line)
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    fields = dict(_FIELD.findall(found["fields"]))
    if fields.get("problem_type") == "http":  # the status says it all
        del fields["problem_type"]
    return Answered(found["method"], found["path"], found["status"], fields)


def _of_json(line: str) -> Answered | None:
    try:
        event: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or event.get("event") != "access":
        return None
    given = {name: str(value) for name, value in event.items() if value is not None}
    target = given.get("target", "-")
    return Answered(given.get("method", "-"), target, given.get("status", "-"), given)
