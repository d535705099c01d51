"""The state of this process, and its way into Redis."""

import threading
from unittest.mock import Mock

import pytest

from gateway.exchange.waiting.mailbox import Mailbox
from gateway.health.readiness import Readiness
from gateway.live.counts import RouteCounts
from gateway.live.figures import LiveFigures
from gateway.live.own_state import OwnState, StepCounts
from gateway.live.recent_problems import SIZE, RecentProblems
from gateway.live.writer import SnapshotWriter
from gateway.problems import NotSent, ReplyTimeout, Sent
from gateway.routing.table import Route
from rendezvous.redis_store.snapshots import Snapshots

ROUTES = (Route("/orders", "orders"), Route("/echo", "echo"))


@pytest.fixture
def counts():
    """What the process has counted since its start, for the test to change."""
    return {"POST /orders": RouteCounts(), "GET /livez": RouteCounts(5)}


@pytest.fixture
def own(counts):
    return OwnState.of_routes(
        ROUTES,
        mailbox=Mailbox(),
        readiness=Readiness((), lambda: False),
        reply_path=None,
        reader=None,
        draining=lambda: False,
        read_counts=lambda: {name: RouteCounts(c.finished) for name, c in counts.items()},
    )


@pytest.fixture
def snapshots(redis):
    return Snapshots(redis, "replies")


def figures_of(own, snapshots):
    writer = SnapshotWriter(own, snapshots)
    return writer, LiveFigures(writer, snapshots, "replies")


def test_the_routes_of_all_processes_show_and_their_own_paths_do_not(own, counts, snapshots):
    writer, figures = figures_of(own, snapshots)
    writer.take()
    counts["POST /orders"] = RouteCounts(7)
    counts["GET /livez"] = RouteCounts(50)
    writer.take()

    found = figures.read()

    assert [(r["route"], r["finished"]) for r in found["routes"]] == [
        ("POST /orders", 7),
        ("POST /echo", 0),
    ]
    assert (found["scope"], found["answered_by"]) == ("all", own.node)
    assert found["processes"][0]["state"] == "running"


def test_a_process_that_ends_says_so(own, snapshots):
    writer, figures = figures_of(own, snapshots)
    writer.start()
    writer.take()
    writer.close()

    assert [p["state"] for p in figures.read()["processes"]] == ["stopped"]


@pytest.mark.parametrize("has_redis", [True, False])
def test_without_redis_a_process_shows_its_own_figures_and_why(
    own, snapshots, redis_server, has_redis
):
    redis_server.connected = False
    writer, figures = figures_of(own, snapshots if has_redis else None)
    writer.take()

    found = figures.read()

    assert (found["scope"], [p["node"] for p in found["processes"]]) == ("process", [own.node])
    assert "Redis" in found["scope_reason"]


def test_figures_are_used_again_for_other_pages(own):
    snapshots = Mock(read=Mock(return_value=[]), read_steps=Mock(return_value=[]))
    _, figures = figures_of(own, snapshots)

    assert figures.read() is figures.read()
    assert snapshots.read.call_count == 1


def test_while_redis_hangs_one_thread_waits_and_the_others_get_the_last_figures(own, monkeypatch):
    monkeypatch.setattr("gateway.live.figures.REUSE_S", 0.0)
    reading, answered = threading.Event(), threading.Event()
    snapshots = Mock(read=Mock(return_value=[]), read_steps=Mock(return_value=[]))
    _, figures = figures_of(own, snapshots)
    first = figures.read()

    def hang():
        reading.set()
        answered.wait(10)
        return []

    snapshots.read = hang
    waiting = threading.Thread(target=figures.read)
    waiting.start()
    reading.wait(10)

    assert figures.read() is first
    answered.set()
    waiting.join()


def test_a_failure_of_the_figures_does_not_end_their_thread(own, snapshots, monkeypatch, caplog):
    monkeypatch.setattr("gateway.live.writer.INTERVAL_S", 0.01)
    writer, figures = figures_of(own, snapshots)
    monkeypatch.setattr(own, "read_counts", Mock(side_effect=[ValueError("broken"), {}, {}]))
    closing = Mock(wait=Mock(side_effect=[False, False, True]))

    writer._run(closing)

    assert "taking the figures of this process failed" in caplog.text
    assert len(figures.read()["processes"]) == 1


def test_a_step_has_what_was_counted_until_it_ended():
    number = [7]
    steps = StepCounts(lambda: number[0])
    steps.add({"a": RouteCounts(10)}, 3, 0.5)
    steps.add({"a": RouteCounts(14)}, 1, 0.0)
    assert steps.ended() == {}
    number[0] = 8

    ended = steps.ended()
    steps.add({"a": RouteCounts(15)}, 0, 0.0)
    number[0] = 9

    assert (ended["t"], ended["routes"]["a"][0]) == (7, 4)
    assert (ended["in_flight"], ended["lag_s"]) == (3, 0.5)
    assert steps.ended()["routes"]["a"][0] == 1


def test_the_last_problems_are_kept_without_the_signature_of_their_id():
    recent = RecentProblems()
    for number in range(SIZE + 5):
        recent.add(NotSent("d", correlation_id=f"aa.{number}.r.MAC", sent=Sent.NO), "POST /o", "")
    recent.add(
        ReplyTimeout("d", status=504, correlation_id="aa.1.r.MAC", sent=Sent.YES), "POST /o", "shop"
    )

    entries = recent.entries()

    assert len(entries) == SIZE
    assert entries[0]["correlation_id"] == "aa.6.r"
    last = entries[-1]
    assert (last["type"], last["status"], last["sent"], last["client"]) == (
        "reply-timeout", 504, "yes", "shop",
    )  # fmt: skip
