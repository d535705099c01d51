"""Whether a request would succeed now, and if not, why."""

import threading

import pytest

from gateway.health.readiness import STALE_AFTER_S, Check, Readiness
from tests.fakes import eventually


class Dependency:
    """A publisher and the way back in one, as far as Readiness asks them."""

    topic = "replies"

    def __init__(self):
        self.trouble: Exception | None = None
        self.asked: list[object] = []
        self.answer: str | None = None
        self.warning: str | None = None

    def check(self, topics):
        self.asked.append(list(topics))
        if self.trouble is not None:
            raise self.trouble

    def ask(self):
        self.asked.append("the way back")
        return self.answer


@pytest.fixture(autouse=True)
def short_pause(monkeypatch):
    monkeypatch.setattr("gateway.health.readiness.CHECK_PAUSE_S", 0.005)


@pytest.fixture
def kafka():
    return Dependency()


@pytest.fixture
def redis():
    return Dependency()


@pytest.fixture
def draining():
    return [False]


@pytest.fixture
def readiness(kafka, redis, draining):
    found = Readiness.of(kafka, ["orders"], redis, lambda: draining[0])
    found.start()
    yield found
    found.close()


def test_it_is_ready_when_kafka_and_redis_are(readiness, kafka, redis):
    eventually(lambda: readiness.problems() == [])

    assert kafka.asked[0] == ["orders", "replies"]
    assert redis.asked


def test_it_is_not_ready_before_anybody_was_asked(kafka, redis):
    problems = Readiness.of(kafka, ["orders"], redis, lambda: False).problems()

    assert problems == ["Kafka has not been asked yet", "Redis has not been asked yet"]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (ConnectionError("Unable to bootstrap"), "broker not reached: Unable to bootstrap"),
        (LookupError("orders"), "topic missing: orders; create it"),
        (
            PermissionError("orders"),
            "topic denied: orders; grant Describe and, but for the reply topic, Write on it",
        ),
    ],
)
def test_kafka_trouble_is_told_and_goes_by(readiness, kafka, trouble, said):
    kafka.trouble = trouble
    eventually(lambda: readiness.problems() == [said])
    kafka.trouble = None

    eventually(lambda: readiness.problems() == [])


def test_trouble_on_the_way_back_is_told_and_goes_by(readiness, redis):
    redis.answer = "Redis is out of memory"
    eventually(lambda: readiness.problems() == ["Redis is out of memory"])
    redis.answer = None

    eventually(lambda: readiness.problems() == [])


def test_what_only_should_be_seen_to_is_a_warning(readiness, redis):
    before = readiness.warnings()
    redis.warning = "the clocks differ"

    assert before == []
    assert readiness.warnings() == ["the clocks differ"]


def test_a_change_is_logged_once(readiness, redis, caplog):
    caplog.set_level("INFO")
    redis.answer = "out of memory"
    eventually(lambda: "out of memory" in str(readiness.problems()))
    asked = len(redis.asked)
    eventually(lambda: len(redis.asked) > asked + 3)

    assert len([record for record in caplog.records if "out of memory" in record.message]) == 1


def test_finishing_is_a_reason_not_to_be_ready(readiness, draining):
    eventually(lambda: readiness.problems() == [])
    draining[0] = True

    assert readiness.problems() == ["this process is shutting down"]


def test_a_check_that_hangs_is_not_taken_for_its_last_good_answer(monkeypatch):
    answers, go_on = [None], threading.Event()
    check = Check("Kafka", lambda: answers.pop() if answers else str(go_on.wait(30)))
    check.start()
    eventually(lambda: not answers and check.problem() is None)
    check._answered_s -= STALE_AFTER_S + 1
    problem = check.problem()
    go_on.set()
    check.close()

    assert problem == "Kafka has not answered for 6 s"


def test_no_more_questions_are_asked_once_closed(kafka, redis):
    readiness = Readiness.of(kafka, ["orders"], redis, lambda: False)
    readiness.start()
    eventually(lambda: kafka.asked)
    readiness.close()
    threads = [t for t in threading.enumerate() if t.name in ("check-Kafka", "check-Redis")]
    for thread in threads:
        thread.join(10)

    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_check_survives_what_nobody_expected(readiness, kafka):
    eventually(lambda: readiness.problems() == [])
    kafka.trouble = RuntimeError("nobody expected this")
    asked = len(kafka.asked)
    eventually(lambda: len(kafka.asked) > asked)
    kafka.trouble = None
    asked = len(kafka.asked)

    eventually(lambda: len(kafka.asked) > asked + 1, within_s=0.5)
