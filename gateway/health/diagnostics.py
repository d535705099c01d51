"""What keeps a deployment from serving, found out before it serves: one finding for each thing."""

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
from rendezvous.redis_store.client import eviction_policy, ping

MARKS = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}"}
ASCII_MARKS = {True: "[ok]  ", False: "[FAIL]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something that is as it should be, or is not.

    Args:
        good: which of the two.
        text: what it is, and what to do next where it is not good.
    """

    good: bool
    text: str

    def line(self, encoding: str) -> str:
        """Return it as a line with a mark in front that *encoding* has."""
        try:
            "".join(MARKS.values()).encode(encoding)
        except (LookupError, UnicodeEncodeError):
            return f"{ASCII_MARKS[self.good]} {self.text}"
        return f"{MARKS[self.good]} {self.text}"


def faults(problems: Iterable[str]) -> list[Finding]:
    """Return each of *problems* as a finding."""
    return [Finding(False, problem) for problem in problems]


def of_route(route: Route, reply_timeout_s: float) -> Finding:
    """Return what *route* is, REPLY_TIMEOUT_S being *reply_timeout_s*."""
    wait_s = route.reply_timeout_s(reply_timeout_s)
    longest_s = route.max_reply_timeout_s(reply_timeout_s)
    waits = f"clients wait {wait_s:g} s"
    if longest_s > wait_s:
        waits += f", up to {longest_s:g} s if they ask to"
    schema = "" if route.schema is None else "; bodies must fit a schema"
    return Finding(
        True, f"{' '.join(route.methods)} {route.path} feeds topic {route.topic}; {waits}{schema}"
    )


def of_kafka(
    publisher: RequestPublisher, shown_url: str, requests: Sequence[str], reply_topic: str
) -> Iterator[Finding]:
    """Look for the brokers, and for each of the topics *requests* and *reply_topic*."""
    try:
        found = publisher.look_up([*requests, reply_topic])
    except ConnectionError as error:
        yield Finding(False, f"Kafka is not reached: {error}")
        return
    yield Finding(True, f"Kafka answers at {shown_url}")
    for name, topic in found.items():
        what = f"reply topic {name}" if name == reply_topic else f"topic {name}"
        yield _of_topic(what, "Describe" if name == reply_topic else "Describe and Write", topic)


def _of_topic(what: str, rights: str, topic: Topic) -> Finding:
    if topic.is_hidden:
        return Finding(False, f"{what} is denied: grant {rights} on it")
    if topic.partitions is None:
        return Finding(
            False,
            f"{what} is missing: create it, or correct KAFKA_PREFIX, REPLY_TOPIC or the route",
        )
    return Finding(True, f"{what} has {_counted(topic.partitions, 'partition')}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def of_redis(redis: Redis, shown_url: str, reply_path_health: ReplyPathHealth) -> Iterator[Finding]:
    """Look for Redis, and there for word of the replies processes."""
    try:
        ping(redis)
    except StoreUnavailable as error:
        yield Finding(False, f"Redis is not reached at {shown_url}: {error}")
        yield Finding(False, "whether replies are read is not known: see to Redis first")
        return
    yield Finding(True, f"Redis answers at {shown_url}")
    policy = eviction_policy(redis)
    if policy is not None:
        yield Finding(
            False,
            f"Redis has maxmemory-policy {policy}, which drops unread replies: set noeviction",
        )
    else:
        yield Finding(True, "Redis drops no unread replies, as far as it tells")
    yield from _of_way_back(reply_path_health)


def _of_way_back(reply_path_health: ReplyPathHealth) -> Iterator[Finding]:
    problem = reply_path_health.ask()
    if problem is None:
        yield Finding(True, f"replies processes read every partition of {reply_path_health.topic}")
    yield from faults(said for said in (problem, reply_path_health.warning) if said is not None)


def ask_all(
    questions: Mapping[str, Callable[[], Iterable[Finding]]], limit_s: float
) -> list[Finding]:
    """
    Return what the *questions* find, asked side by side, each under the name of what is asked.

    Within *limit_s*: one that has no end by then is itself a finding.
    """
    found: dict[str, list[Finding]] = {name: [] for name in questions}

    def ask(name: str) -> None:
        try:
            # One by one: what was found before it hangs counts.
            for finding in questions[name]():
                found[name].append(finding)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            found[name].append(Finding(False, f"asking {name} failed: {error!r}; report this"))

    threads = {
        name: threading.Thread(target=ask, args=(name,), name=f"ask-{name}", daemon=True)
        for name in questions
    }
    for thread in threads.values():
        thread.start()
    give_up_s = time.monotonic() + limit_s
    for name, thread in threads.items():
        thread.join(max(0, give_up_s - time.monotonic()))
        if thread.is_alive():
            late = f"{name} has no more to say within {limit_s:g} s: see whether it hangs"
            found[name] = [*found[name], Finding(False, late)]
    return [finding for name in questions for finding in list(found[name])]
