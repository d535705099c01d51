"""Diagnostics of a deployment before it serves: one finding for each part."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from redis import Redis

from gateway.exchange.publisher import RequestPublisher
from gateway.health.reply_path import ReplyPathHealth
from gateway.routing.table import Route
from rendezvous.errors import StoreUnavailable
from rendezvous.kafka_client.topics import Topic
from rendezvous.redis_store.client import (
    CLUSTER_ADVICE,
    eviction_policy,
    ping,
    shards_behind,
)

MARKS = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}"}
ASCII_MARKS = {True: "[ok]  ", False: "[FAIL]"}
WARNING_MARK, ASCII_WARNING_MARK = "!", "[warn]"
#: A part of the name of a header that names a user or tenant.
_IDENTITY = re.compile(
    r"(^|-)(auth|authenticated|consumer|customer|email|identity|login|member|oidc|org|organization"
    r"|principal|subject|tenant|account|user|userid|username|tenantid|client-(id|cert|dn))(-|$)",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    ok: bool
    text: str  # the fact; if not ok, also what to do
    is_warning: bool = False  # whether to act, although nothing has failed

    def line(self, encoding: str) -> str:
        """Return the text after a mark that *encoding* can represent."""
        try:
            "".join(MARKS.values()).encode(encoding)
        except (LookupError, UnicodeEncodeError):
            return f"{ASCII_WARNING_MARK if self.is_warning else ASCII_MARKS[self.ok]} {self.text}"
        return f"{WARNING_MARK if self.is_warning else MARKS[self.ok]} {self.text}"


#: The finding of a deployment without Redis.
NO_REDIS = Finding(
    True,
    "REDIS_URL is not set: replies come straight from Kafka only; idempotency keys, respond-async "
    "and /replies are not available, and rates count per process; set it if you need one of these",
    is_warning=True,
)


def failures(problems: Iterable[str]) -> list[Finding]:
    """Return each of *problems* as a failed finding."""
    return [Finding(False, problem) for problem in problems]


def route_finding(route: Route, default_timeout_s: float) -> Finding:
    """Return what *route* does; *default_timeout_s* is REPLY_TIMEOUT_S."""
    timeout_s = route.reply_timeout_s(default_timeout_s)
    max_timeout_s = route.max_reply_timeout_s(default_timeout_s)
    timeout = f"reply timeout {timeout_s:g} s"
    if max_timeout_s > timeout_s:
        timeout += f", up to {max_timeout_s:g} s with Prefer: wait"
    schema = "" if route.schema is None else "; bodies must match a schema"
    name = f"{' '.join(route.methods)} {route.path}"
    return Finding(True, f"{name} publishes to topic {route.topic}; {timeout}{schema}")


def caller_warnings(routes: Iterable[Route]) -> list[Finding]:
    """Return the routes that forward headers like X-User and do not name the caller."""
    return [_caller_warning(route, names[0]) for route in routes if (names := _identities(route))]


def _identities(route: Route) -> list[str]:
    """Return the forwarded headers that look like identities, unless one names the caller."""
    if route.caller_header is not None:
        return []
    return [name for name in route.request_headers if is_identity(name)]


def is_identity(header: str) -> bool:
    """Return whether *header* looks as if it names a user or tenant."""
    return header.lower() != "user-agent" and bool(_IDENTITY.search(header))


def _caller_warning(route: Route, header: str) -> Finding:
    return Finding(
        True,
        f"{' '.join(route.methods)} {route.path} forwards {header} and does not name the caller: "
        "users behind one proxy share idempotency keys and replies; "
        f'set caller = "header:{header}" if the proxy sets it',
        is_warning=True,
    )


def kafka_findings(
    publisher: RequestPublisher,
    shown_url: str,
    request_topics: Sequence[str],
    reply_topic: str,
    readers: int = 0,
) -> Iterator[Finding]:
    """
    Check the brokers and each topic.

    Args:
        readers: number of processes of one gateway that read a partition of the reply topic each.
    """
    try:
        found = publisher.look_up([*request_topics, reply_topic])
    except ConnectionError as error:
        yield Finding(False, f"Kafka is unreachable: {error}")
        return
    yield Finding(True, f"Kafka answers at {shown_url}")
    for name, topic in found.items():
        if name == reply_topic:
            yield _topic_finding(f"reply topic {name}", "Describe", topic)
            if topic.partitions is not None and topic.partitions < readers:
                yield _few_partitions(name, topic.partitions, readers)
        else:
            yield _topic_finding(f"topic {name}", "Describe and Write", topic)


def _few_partitions(topic: str, partitions: int, readers: int) -> Finding:
    return Finding(
        True,
        f"reply topic {topic} has {partitions} partitions, fewer than the {readers} processes "
        "(WEB_CONCURRENCY) of one gateway, which then read each other's replies; give it "
        f"{readers} for each gateway",
        is_warning=True,
    )


def _topic_finding(label: str, rights: str, topic: Topic) -> Finding:
    if topic.is_hidden:
        return Finding(False, f"{label} is denied; grant {rights} on it")
    if topic.partitions is None:
        return Finding(
            False,
            f"{label} is missing; create it, or correct KAFKA_PREFIX, REPLY_TOPIC or the route",
        )
    plural = "" if topic.partitions == 1 else "s"
    return Finding(True, f"{label} has {topic.partitions} partition{plural}")


def redis_findings(
    redis: Redis, shown_url: str, reply_path_health: ReplyPathHealth | None
) -> Iterator[Finding]:
    """Check Redis, and the reply path, unless it is None, by its heartbeats there."""
    try:
        ping(redis)
    except StoreUnavailable as error:
        yield Finding(False, f"Redis is unreachable at {shown_url}: {error}")
        if reply_path_health is not None:
            yield Finding(False, "the state of the reply path is unknown; fix Redis first")
        return
    if shards_behind(redis) > 1:
        yield Finding(False, CLUSTER_ADVICE)
        return
    yield Finding(True, f"Redis answers at {shown_url}")
    policy = eviction_policy(redis)
    if policy is not None:
        yield Finding(
            False,
            f"Redis has maxmemory-policy {policy}, which drops unread replies; set noeviction",
        )
    else:
        yield Finding(True, "Redis reports no maxmemory-policy that drops unread replies")
    if reply_path_health is not None:
        yield from _reply_path_findings(reply_path_health)


def _reply_path_findings(reply_path_health: ReplyPathHealth) -> Iterator[Finding]:
    problem = reply_path_health.problem()
    if problem is None:
        yield Finding(True, f"replies processes read every partition of {reply_path_health.topic}")
    yield from failures(text for text in (problem, reply_path_health.warning) if text is not None)


def run_checks(
    checks: Mapping[str, Callable[[], Iterable[Finding]]], limit_s: float
) -> list[Finding]:
    """
    Run *checks*, by subject, in parallel and return their findings.

    A check that has not finished after *limit_s* adds a failed finding.
    """
    found: dict[str, list[Finding]] = {subject: [] for subject in checks}

    def run(subject: str) -> None:
        try:
            # One by one: findings before a hang count.
            for finding in checks[subject]():
                found[subject].append(finding)
        except Exception as error:  # noqa: BLE001  any error becomes a finding
            text = f"the check of {subject} failed: {error!r}; report this"
            found[subject].append(Finding(False, text))

    threads = {
        subject: threading.Thread(target=run, args=(subject,), name=f"check-{subject}", daemon=True)
        for subject in checks
    }
    for thread in threads.values():
        thread.start()
    end_s = time.monotonic() + limit_s
    for subject, thread in threads.items():
        thread.join(max(0, end_s - time.monotonic()))
        if thread.is_alive():
            late = f"{subject} has not answered within {limit_s:g} s; check whether it hangs"
            found[subject] = [*found[subject], Finding(False, late)]
    return [finding for subject in checks for finding in list(found[subject])]
