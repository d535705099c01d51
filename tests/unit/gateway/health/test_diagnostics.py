"""What gateway.check finds, and what it says of it."""

import io
import sys
import threading

import pytest

from gateway import check
from gateway.clients.api_keys import hash_of, new_key
from gateway.health.diagnostics import Finding, ask_all, of_kafka, of_redis, of_route
from gateway.routing.schema import BodySchema
from gateway.routing.table import Route
from rendezvous.kafka_client.topics import Topic
from settings import Settings, SettingsError


class Brokers:
    """What a RequestPublisher tells of *topics*."""

    def __init__(self, **topics):
        self.topics = topics

    def look_up(self, names):
        if not self.topics:
            raise ConnectionError("connection refused; start the broker")
        return {name: self.topics[name] for name in names}


class Way:
    topic = "replies"

    def __init__(self, problem=None, warning=None):
        self.problem, self.warning = problem, warning

    def ask(self):
        return self.problem


def brokers(**topics):
    return Brokers(**topics)


def way(*said):
    return Way(*said)


def told(found):
    return [(finding.good, finding.text) for finding in found]


def test_a_route_is_told_with_how_long_its_clients_wait():
    route = Route("/a", "team.a", ("POST", "PUT"), max_timeout_s=10.0, schema=BodySchema(True))

    assert told([of_route(route, 3.0), of_route(Route("/b", "b"), 3.0)]) == [
        (
            True,
            "POST PUT /a feeds topic team.a; clients wait 3 s, up to 10 s if they ask to; "
            "bodies must fit a schema",
        ),
        (True, "POST /b feeds topic b; clients wait 3 s"),
    ]


def test_each_topic_is_a_finding_with_its_partitions_or_what_to_do():
    seen = brokers(a=Topic(1), b=Topic(), c=Topic(is_hidden=True), replies=Topic(4))

    assert told(of_kafka(seen, "kafka://h:1", ["a", "b", "c"], "replies")) == [
        (True, "Kafka answers at kafka://h:1"),
        (True, "topic a has 1 partition"),
        (
            False,
            "topic b is missing: create it, or correct KAFKA_PREFIX, REPLY_TOPIC or the route",
        ),
        (False, "topic c is denied: grant Describe and Write on it"),
        (True, "reply topic replies has 4 partitions"),
    ]


def test_brokers_that_are_not_reached_are_one_finding():
    assert told(of_kafka(brokers(), "kafka://h:1", ["a"], "replies")) == [
        (False, "Kafka is not reached: connection refused; start the broker")
    ]


def test_redis_in_order_with_readers_of_the_replies(redis):
    assert [good for good, _ in told(of_redis(redis, "redis://h", way()))] == [True] * 3


def test_redis_that_evicts_and_a_way_back_that_is_broken(redis, monkeypatch):
    monkeypatch.setattr("gateway.health.diagnostics.eviction_policy", lambda redis: "allkeys-lru")

    found = told(of_redis(redis, "redis://h", way("nobody reads", "the clocks differ")))

    assert found[1:] == [
        (False, "Redis has maxmemory-policy allkeys-lru, which drops unread replies: "
         "set noeviction"),
        (False, "nobody reads"),
        (False, "the clocks differ"),
    ]  # fmt: skip


def test_without_redis_nothing_is_said_of_the_way_back(redis, redis_server):
    redis_server.connected = False

    unreached, unknown = of_redis(redis, "redis://***@h", way())

    assert not unreached.good
    assert unreached.text.startswith("Redis is not reached at redis://***@h: Redis cannot be")
    assert (unknown.good, "see to Redis first" in unknown.text) == (False, True)


def test_what_hangs_is_told_and_what_was_found_before_it_counts():
    ever = threading.Event()

    def hangs():
        yield Finding(True, "reached")
        ever.wait(20)

    found = ask_all({"Kafka": hangs, "Redis": lambda: [Finding(True, "there")]}, 0.2)
    ever.set()

    assert [good for good, _ in told(found)] == [True, False, True]
    assert found[1].text == "Kafka has no more to say within 0.2 s: see whether it hangs"


def test_a_question_that_fails_is_a_finding_and_the_others_are_asked():
    def fails():
        raise OSError("no such thing")

    found = ask_all({"Kafka": fails, "Redis": lambda: [Finding(True, "there")]}, 5)

    assert [good for good, _ in told(found)] == [False, True]
    assert "no such thing" in found[0].text


@pytest.mark.parametrize(
    ("encoding", "marks"),
    [("utf-8", "✓✗"), ("ascii", ["[ok]  ", "[FAIL]"]), ("latin-1", ["[ok]  ", "[FAIL]"])],
)
def test_marks_are_those_that_can_be_written(encoding, marks):
    lines = [Finding(good, "it").line(encoding) for good in (True, False)]

    assert lines == [f"{mark} it" for mark in marks]


@pytest.mark.parametrize(("good", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_is_that_of_the_worst_finding(monkeypatch, good, code):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(check, "_found", lambda: [Finding(True, "/ä"), Finding(good, "it")])

    assert check.main([]) == code
    assert out.buffer.getvalue().startswith(b"[ok]   /\\xe4\n")


@pytest.fixture
def on_paper(monkeypatch, tmp_path):
    """Return what is told of a deployment with that environment, but of its connections."""
    monkeypatch.setattr(check, "_connections", lambda *_: [])
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\npath = "/a"\ntopic = "a"\n')

    def tell(**more):
        env = {
            "KAFKA_URL": "kafka://h:1",
            "REDIS_URL": "redis://h",
            "SECRET_KEY": "0123456789abcdef",
            "ROUTES_FILE": str(routes),
        }
        settings = Settings.from_env(env | more)
        monkeypatch.setattr(Settings, "from_env", lambda: settings)
        return told(check._found())

    return tell


def test_settings_routes_and_keys_in_order(on_paper):
    keys = f'[[client]]\nname = "shop"\nkeys = ["{hash_of(new_key())}"]\n'

    assert on_paper(API_KEYS=keys) == [
        (True, "the settings are complete"),
        (True, "POST /a feeds topic a; clients wait 3 s"),
        (True, "clients need one of the API keys"),
    ]


def test_faulty_keys_are_told(on_paper):
    *_, (good, text) = on_paper(API_KEYS="[[client]]\nname = 'shop'\n")

    assert not good
    assert "client 1" in text


def test_faulty_routes_are_told_and_keys_are_looked_at_when_there_are_routes(on_paper, tmp_path):
    (tmp_path / "faulty.toml").write_text("")

    assert on_paper(ROUTES_FILE=str(tmp_path / "faulty.toml"), API_KEYS="faulty too") == [
        (True, "the settings are complete"),
        (False, f"{tmp_path / 'faulty.toml'}: expected one or more [[route]] tables"),
    ]


def test_wrong_settings_are_told_and_nothing_else_is_looked_at(monkeypatch):
    def refuse():
        raise SettingsError(["PORT=x: expected a whole number", "REDIS_URL is not set"])

    monkeypatch.setattr(Settings, "from_env", refuse)

    assert told(check._found()) == [
        (False, "PORT=x: expected a whole number"),
        (False, "REDIS_URL is not set"),
        (False, "nothing else was looked at: correct the settings, then check again"),
    ]
