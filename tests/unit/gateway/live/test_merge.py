"""The figures of all processes, merged from their snapshots."""

from collections import Counter

import pytest

from gateway.live.counts import RouteCounts
from gateway.live.history import STEPS, History
from gateway.live.merge import figures
from gateway.live.recent_problems import SIZE
from rendezvous.redis_store.snapshots import FORMAT, Snapshot


def gateway(node="aa", age_s=0.5, clock_ahead_s=0.0, **values):
    standard = {
        "format": FORMAT,
        "kind": "gateway",
        "node": node,
        "state": "running",
        "since_ms": 1,
        "topics": {"POST /orders": "orders"},
        "window_s": 10.0,
        "in_flight": 2,
        "limit": 60,
        "straight": [0, 2],
        "host": "h",
        "pid": 7,
    }
    return Snapshot(standard | values, age_s, clock_ahead_s)


def replies(node="rr", age_s=1.0, **values):
    standard = {
        "format": FORMAT,
        "kind": "replies",
        "node": node,
        "state": "running",
        "mode": "group",
        "partitions": 2,
        "lags_s": {"0": 0.0, "1": 0.25},
        "host": "h",
        "pid": 8,
    }
    return Snapshot(standard | values, age_s, 0.0)


def counted(finished, failed=0, bound="0.1"):
    return RouteCounts(finished, failed, Counter({bound: finished})).to_json()


def texts(found):
    return [finding["text"] for finding in found["findings"]]


def test_the_counts_of_all_gateways_add_up():
    found = figures(
        [
            gateway("aa", routes={"POST /orders": counted(30)}, waiting={"orders": 1}),
            gateway("bb", routes={"POST /orders": counted(10)}, waiting={"orders": 2}),
            replies(),
        ],
        "replies",
    )

    (route,) = found["routes"]
    assert (route["rate"], route["finished"], route["waiting"]) == (4.0, 40, 3)
    assert (route["state"], found["state"]) == ("ok", "ok")
    assert 0.05 < route["p50_s"] < route["p99_s"] <= 0.1
    assert (found["totals"]["in_flight"], found["totals"]["limit"]) == (4, 120)


@pytest.mark.parametrize(
    ("window", "now", "state"),
    [
        (counted(0), [0, 0], "idle"),
        (counted(50), [10, 0], "ok"),
        (counted(50, 5), [10, 0], "errors"),
        (counted(50, 5), [5, 5], "failing"),  # at once, not when most of the window failed
        (counted(2, 1), [0, 0], "failing"),
        (counted(50, 20), [3, 1], "errors"),
    ],
)
def test_a_route_fails_when_most_of_its_latest_responses_failed(window, now, state):
    found = figures(
        [gateway(routes={"POST /orders": window}, now={"POST /orders": now}), replies()], "replies"
    )

    assert found["routes"][0]["state"] == state
    assert found["state"] == {"errors": "warning", "failing": "failing"}.get(state, "ok")


def test_a_route_without_requests_fails_while_its_breaker_is_open():
    found = figures([gateway(breakers={"orders": [1, 0]}), gateway("bb"), replies()], "replies")

    assert found["routes"][0]["state"] == "failing"
    assert found["breakers"] == [
        {"topic": "orders", "state": "open", "open_in": ["aa"], "clients": 0}
    ]
    assert texts(found) == ["circuit breaker of topic orders is open; check its responder"]


def test_the_reply_path_names_the_readers_of_each_partition():
    found = figures([gateway(), replies(lags_s={"1": 1.5})], "replies")

    first, second = found["reply_path"]["partitions"]
    assert (first["state"], first["replies"], first["gateways"]) == ("not read", [], ["aa"])
    assert (second["state"], second["lag_s"], second["gateways"]) == ("read", 1.5, [])
    assert texts(found) == [
        "no replies process reads partition 0 of topic replies; wait for the next assignment, or "
        "see their logs"
    ]


@pytest.mark.parametrize(
    ("process", "state", "text"),
    [
        (replies(age_s=9), "silent", "replies process rr (h, 8) has written nothing for 9 s"),
        (replies(state="stopped"), "stopped", "no replies process runs; start one"),
    ],
)
def test_a_replies_process_that_ended_shows(process, state, text):
    found = figures([gateway(), process], "replies")

    assert [p["state"] for p in found["processes"]] == ["running", state]
    assert found["state"] == "failing"
    assert any(line.startswith(text) for line in texts(found))


def test_of_several_replies_processes_one_that_is_silent_is_a_warning():
    found = figures([gateway(), replies(), replies("ss", age_s=9, lags_s={})], "replies")

    assert [finding["state"] for finding in found["findings"]] == ["warning"]


def test_a_responder_that_has_died_is_named_with_its_topics():
    died = replies("ee", age_s=9, kind="responder", topics=["orders"], lags_s={})
    found = figures([gateway(), replies(), died], "replies")

    assert found["processes"][-1]["topics"] == ["orders"]
    assert texts(found) == [
        "responder process ee (h, 8) of topics orders has written nothing for 9 s; see its log, "
        "and restart it if it hangs",
        "no responder process runs; start one (python -m responder) or see its log",
    ]


def test_the_figures_of_silent_and_stopped_gateways_do_not_count():
    found = figures(
        [
            gateway("aa"),
            gateway("bb", age_s=30, routes={"POST /orders": counted(9, 9)}),
            gateway("cc", state="stopped", routes={"POST /orders": counted(9, 9)}),
            replies(),
        ],
        "replies",
    )

    assert found["routes"][0]["finished"] == 0
    assert found["totals"]["in_flight"] == 2


def test_problems_warnings_and_clocks_of_processes_are_named_once():
    kafka = "no broker reachable: x"
    found = figures(
        [
            gateway("aa", problems=[kafka]),
            gateway("bb", problems=[kafka], warnings=["w"], clock_ahead_s=-5.0),
            replies(),
        ],
        "replies",
    )

    assert texts(found) == [
        kafka,
        "the clock of gateway process bb (h, 7) differs by 5 s; set it (NTP)",
        "w",
    ]


def test_the_latest_problems_of_all_processes_are_listed():
    def problems(*times_ms):
        return [{"time_ms": t, "type": "reply-timeout"} for t in times_ms]

    found = figures(
        [gateway("aa", recent=problems(*range(1, 40, 2))), gateway("bb", recent=problems(2, 38))],
        "replies",
    )

    latest = [(problem["time_ms"], problem["node"]) for problem in found["problems"]]
    assert len(latest) == SIZE
    assert latest[:3] == [(39, "aa"), (38, "bb"), (37, "aa")]


def test_of_a_process_of_a_release_with_another_format_only_its_facts_show():
    found = figures(
        [gateway(), gateway("bb", format=99, routes="new", breakers=[1], version="9.9")], "replies"
    )

    assert [(p["node"], p["version"]) for p in found["processes"]] == [("aa", ""), ("bb", "9.9")]


def test_without_any_snapshot_there_are_no_figures():
    found = figures([], "replies")

    assert (found["routes"], found["processes"], found["problems"]) == ([], [], [])


def test_the_history_has_a_value_for_each_step_and_none_where_nothing_was_counted():
    history = History(lambda: 1_000)
    step = {"t": 998, "routes": {"POST /orders": counted(20, 10)}, "in_flight": 3, "lag_s": 0.5}
    history.add(0, [step, step | {"node": "bb", "lag_s": 2.0}, step | {"t": 1}])

    found = history.to_json()
    rates = found["routes"]["POST /orders"]["rate"]

    assert len(rates) == STEPS
    assert (rates[-3:], set(rates[:-2])) == ([None, 4.0, None], {None})
    assert found["routes"]["POST /orders"]["failed_share"][-2] == 0.5
    assert (found["totals"]["in_flight"][-2], found["totals"]["lag_s"][-2]) == (6, 2.0)


def test_the_latest_steps_are_read_again_and_replaced():
    history = History(lambda: 1_000)
    history.add(0, [{"t": t, "routes": {"a": counted(10)}} for t in (996, 998, 999)])
    since = history.since()
    history.add(since, [{"t": t, "routes": {"a": counted(20)}} for t in (998, 999)])

    assert since == 997
    assert history.to_json()["routes"]["a"]["rate"][-4:] == [1.0, None, 2.0, 2.0]


def test_a_process_whose_clock_is_ahead_does_not_keep_later_steps_of_others_from_being_read():
    now = 1_000
    history = History(lambda: now)
    ahead = {"t": 1_030, "routes": {}}
    history.add(0, [{"t": 999, "routes": {"a": counted(10)}}, ahead])
    now = 1_001
    since = history.since()
    history.add(since, [{"t": t, "routes": {"a": counted(20)}} for t in (999, 1_000)] + [ahead])

    assert since == 998
    assert history.to_json()["routes"]["a"]["rate"][-2:] == [2.0, 2.0]
