"""Findings of the live page: what fails or should be corrected."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.live.own_state import WINDOW_S

#: Clock difference from which a process is named, in seconds.
CLOCK_TOLERANCE_S = 2.0

Json = dict[str, Any]


def findings_of(
    routes: Sequence[Json], breakers: Sequence[Json], processes: Sequence[Json], path: Json
) -> list[Json]:
    """Return each finding once: its state, warning or failing, and a text."""
    found = [
        *_route_findings(routes),
        *_breaker_findings(breakers),
        *_process_findings(processes),
        *_path_findings(path),
    ]
    found.sort(key=lambda finding: finding["state"] != "failing")  # those first
    return [finding for n, finding in enumerate(found) if finding not in found[:n]]


def _finding(state: str, text: str) -> Json:
    return {"state": state, "text": text}


def _route_findings(routes: Sequence[Json]) -> list[Json]:
    return [
        _finding(
            "failing" if route["state"] == "failing" else "warning",
            f"{route['route']}: {route['failed']} of {route['finished']} responses failed in the "
            f"last {WINDOW_S:.0f} s; see the problems below, and the responder of topic "
            f"{route['topic']}",
        )
        for route in routes
        if route["failed"]
    ]


def _breaker_findings(breakers: Sequence[Json]) -> list[Json]:
    found = []
    for breaker in breakers:
        if breaker["state"] == "open":
            text = f"circuit breaker of topic {breaker['topic']} is open; check its responder"
            found.append(_finding("failing", text))
        elif breaker["clients"]:
            text = f"circuit breaker of topic {breaker['topic']} is open for {breaker['clients']}"
            found.append(_finding("warning", f"{text} clients; check their requests"))
    return found


def _process_findings(processes: Sequence[Json]) -> Iterator[Json]:
    running = {p["kind"] for p in processes if p["state"] in ("running", "draining")}
    for process in processes:
        if process["state"] == "silent":
            # Of several, the others do its work.
            state = "warning" if process["kind"] in running else "failing"
            advice = "see its log, and restart it if it hangs"
            text = f"has written nothing for {process['age_s']:.0f} s; {advice}"
            yield _finding(state, f"{_name(process)} {text}")
        elif process["state"] != "stopped":
            yield from _own_findings(process)
    for kind, state in (("replies", "failing"), ("responder", "warning")):
        if kind not in running and any(process["kind"] == kind for process in processes):
            text = f"no {kind} process runs; start one (python -m {kind}) or see its log"
            yield _finding(state, text)


def _own_findings(process: Json) -> Iterator[Json]:
    """Yield what a running process reports of itself, and its clock."""
    if abs(process["clock_ahead_s"]) > CLOCK_TOLERANCE_S:
        ahead_s = process["clock_ahead_s"]
        text = f"the clock of {_name(process)} differs by {abs(ahead_s):.0f} s; set it (NTP)"
        yield _finding("warning", text)
    for problem in process["problems"]:
        yield _finding("failing", str(problem))
    for warning in process["warnings"]:
        yield _finding("warning", str(warning))


def _name(process: Json) -> str:
    topics = f" of topics {', '.join(process['topics'])}" if process["topics"] else ""
    kind, node = process["kind"], process["node"]
    return f"{kind} process {node} ({process['host']}, {process['pid']}){topics}"


def _path_findings(path: Json) -> list[Json]:
    unread = [str(p["partition"]) for p in path["partitions"] if p["state"] == "not read"]
    if not unread or not path["replies_processes"]:
        return []
    text = f"no replies process reads partition {', '.join(unread)} of topic {path['topic']}"
    return [_finding("failing", f"{text}; wait for the next assignment, or see their logs")]
