"""Merges the snapshots of all processes into the figures of the live page."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.live.counts import RouteCounts, total
from gateway.live.findings import findings_of
from gateway.live.history import figures_of, merged_counts
from gateway.live.own_state import WINDOW_S
from gateway.live.recent_problems import SIZE
from rendezvous.redis_store.snapshots import FORMAT, Snapshot

#: Age of a snapshot from which its process counts as silent, in seconds. Gateways write one each
#: second, replies processes one every two.
SILENT_S = 5.0
#: Minimum share of failed responses with which a route fails.
FAILING_SHARE = 0.5

Json = dict[str, Any]


def figures(snapshots: Sequence[Snapshot], reply_topic: str) -> Json:
    """Return the figures of all processes; see docs/reference/live.md."""
    snapshots = [_understood(snapshot) for snapshot in snapshots]
    processes = [_process(snapshot) for snapshot in snapshots]
    processes.sort(key=lambda process: (process["kind"], process["since_ms"], process["node"]))
    live = [s.values for s in snapshots if _state(s) in ("running", "draining")]
    gateways = [values for values in live if values.get("kind") == "gateway"]
    breakers = _breakers(gateways)
    routes = _routes(gateways, {b["topic"] for b in breakers if b["state"] == "open"})
    path = _reply_path(live, reply_topic)
    findings = findings_of(routes, breakers, processes, path)
    states = {finding["state"] for finding in findings}
    return {
        "state": "failing" if "failing" in states else "warning" if states else "ok",
        "findings": findings,
        "totals": _totals(gateways),
        "routes": routes,
        "breakers": breakers,
        "reply_path": path,
        "processes": processes,
        "problems": _problems(snapshots),
    }


def _understood(snapshot: Snapshot) -> Snapshot:
    """Return *snapshot*; of another format only the facts of its process."""
    values = snapshot.values
    if values.get("format") == FORMAT:
        return snapshot
    facts = ("kind", "node", "host", "pid", "version", "since_ms", "state")
    return replace(snapshot, values={name: values[name] for name in facts if name in values})


def _state(snapshot: Snapshot) -> str:
    state = str(snapshot.values.get("state", "running"))
    if state in ("running", "draining") and snapshot.age_s > SILENT_S:
        return "silent"
    return state


def _process(snapshot: Snapshot) -> Json:
    values = snapshot.values
    shown = {name: values.get(name) for name in ("in_flight", "limit", "queued", "queue_limit")}
    if values.get("kind") != "gateway":
        shown = dict.fromkeys(shown)
    return {
        "kind": str(values.get("kind", "")),
        "node": str(values.get("node", "")),
        "host": str(values.get("host", "")),
        "pid": values.get("pid"),
        "version": str(values.get("version", "")),
        "since_ms": values.get("since_ms") or 0,
        "state": _state(snapshot),
        "age_s": round(snapshot.age_s, 1),
        "clock_ahead_s": round(snapshot.clock_ahead_s, 1),
        "mode": str(values.get("mode", "")),
        "partitions": _partitions_of(values),
        "topics": _topics_of(values),
        "problems": list(values.get("problems") or ()),
        "warnings": list(values.get("warnings") or ()),
        **shown,
    }


def _partitions_of(values: Json) -> list[int]:
    """Return the partitions of the reply topic that a process reads."""
    if values.get("kind") == "gateway":
        read = values.get("straight")
        return [read[0]] if read else []
    return sorted(map(int, values.get("lags_s") or ()))


def _topics_of(values: Json) -> list[str]:
    """Return the topics that a process answers: a responder's."""
    return list(map(str, values.get("topics") or ())) if values.get("kind") == "responder" else []


def _routes(gateways: Sequence[Json], broken_topics: set[str]) -> list[Json]:
    counts = merged_counts(values.get("routes") or {} for values in gateways)
    now = merged_counts(
        {route: [*pair, {}] for route, pair in (values.get("now") or {}).items()}
        for values in gateways
    )
    topics: dict[str, str] = {}
    waiting: Counter[str] = Counter()
    for values in gateways:
        topics |= values.get("topics") or {}
        waiting.update(values.get("waiting") or {})
    return [
        {
            "route": route,
            "topic": topic,
            "state": _route_state(
                counts.get(route, RouteCounts()),
                now.get(route, RouteCounts()),
                is_broken=topic in broken_topics,
            ),
            "finished": counts.get(route, RouteCounts()).finished,
            "failed": counts.get(route, RouteCounts()).failed,
            **figures_of(counts.get(route, RouteCounts()), _window_s(gateways)),
            "waiting": waiting[topic],
        }
        for route, topic in topics.items()
    ]


def _route_state(window: RouteCounts, now: RouteCounts, *, is_broken: bool) -> str:
    recent = now if now.finished else window
    if is_broken or (recent.failed and recent.failed >= FAILING_SHARE * recent.finished):
        return "failing"
    if window.failed:
        return "errors"
    return "ok" if window.finished else "idle"


def _window_s(gateways: Sequence[Json]) -> float:
    return max((values.get("window_s") or 0.0 for values in gateways), default=WINDOW_S)


def _totals(gateways: Sequence[Json]) -> Json:
    counts = merged_counts(values.get("routes") or {} for values in gateways)
    load = {
        name: sum(values.get(name) or 0 for values in gateways)
        for name in ("in_flight", "limit", "queued", "queue_limit")
    }
    return figures_of(total(counts.values()), _window_s(gateways)) | load


def _breakers(gateways: Sequence[Json]) -> list[Json]:
    found: dict[str, Json] = {}
    for values in gateways:
        for topic, (is_open, clients) in (values.get("breakers") or {}).items():
            breaker = found.setdefault(
                topic, {"topic": topic, "state": "closed", "open_in": [], "clients": 0}
            )
            if is_open:
                breaker["open_in"].append(values.get("node"))
            breaker["clients"] += clients
    for breaker in found.values():
        if breaker["open_in"]:
            breaker["state"] = "open"
        elif breaker["clients"]:
            breaker["state"] = "open for some"
    return list(found.values())


def _reply_path(live: Sequence[Json], topic: str) -> Json:
    replies = [values for values in live if values.get("kind") == "replies"]
    gateways = [values for values in live if values.get("kind") == "gateway"]
    sizes = [values.get("partitions") or 0 for values in replies]
    sizes += [values["straight"][1] for values in gateways if values.get("straight")]
    partitions = []
    for number in range(max(sizes, default=0)):
        lags_s = {
            values["node"]: values["lags_s"][str(number)]
            for values in replies
            if str(number) in (values.get("lags_s") or {})
        }
        partitions.append(
            {
                "partition": number,
                "state": "read" if lags_s else "not read",
                "replies": sorted(lags_s),
                "lag_s": max(lags_s.values(), default=None),
                "gateways": sorted(
                    values["node"] for values in gateways if number in _partitions_of(values)
                ),
            }
        )
    return {
        "topic": topic,
        "replies_processes": len(replies),
        "modes": sorted({str(values.get("mode", "")) for values in replies}),
        "partitions": partitions,
        "counts": sum((Counter(values.get("counts") or {}) for values in replies), Counter()),
    }


def _problems(snapshots: Sequence[Snapshot]) -> list[Json]:
    found = [
        {**problem, "node": snapshot.values.get("node")}
        for snapshot in snapshots
        for problem in snapshot.values.get("recent") or ()
    ]
    found.sort(key=lambda problem: problem.get("time_ms", 0), reverse=True)
    return found[:SIZE]
