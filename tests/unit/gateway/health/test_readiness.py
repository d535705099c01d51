"""Readiness: checks in the background, problems and warnings."""

import threading
from typing import Any

import pytest
from prometheus_client import REGISTRY

from gateway.health.readiness import STALE_AFTER_S, STUCK_AFTER_S, Check, Readiness
from tests.fakes import eventually


class Dependency:
    """Stands in for a publisher and for a ReplyPathHealth."""

    topic = "replies"

    def __init__(self):
        self.error: Exception | None = None
        self.checked: list[object] = []
        self.found: str | None = None
        self.warning: str | None = None

    def check(self, topics):
        self.checked.append(list(topics))
        if self.error is not None:
            raise self.error

    def problem(self):
        self.checked.append("reply path")
        return self.found

    def warnings(self):
        return [] if self.warning is None else [self.warning]


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
    found = Readiness.of(kafka, ["orders", "replies"], lambda: draining[0], redis)
    found.start()
    yield found
    found.close()


def test_it_is_ready_when_kafka_and_redis_are(readiness, kafka, redis):
    eventually(lambda: readiness.problems() == [])

    assert kafka.checked[0] == ["orders", "replies"]
    assert redis.checked


def test_it_is_not_ready_before_the_first_checks(kafka, redis):
    problems = Readiness.of(kafka, ["orders"], lambda: False, redis).problems()

    assert problems == ["Kafka is not checked yet", "Redis is not checked yet"]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ConnectionError("Unable to bootstrap"), "no broker reachable: Unable to bootstrap"),
        (LookupError("orders"), "topic missing: orders; create it"),
        (
            PermissionError("orders"),
            "topic denied: orders; grant Describe on it, and Write if requests go there",
        ),
    ],
)
def test_a_problem_of_kafka_is_reported_until_it_is_gone(readiness, kafka, error, problem):
    kafka.error = error
    eventually(lambda: readiness.problems() == [problem])
    kafka.error = None

    eventually(lambda: readiness.problems() == [])


def test_a_problem_of_the_reply_path_is_reported_until_it_is_gone(readiness, redis):
    redis.found = "Redis is out of memory"
    eventually(lambda: readiness.problems() == ["Redis is out of memory"])
    redis.found = None

    eventually(lambda: readiness.problems() == [])


def test_a_warning_of_the_reply_path_is_reported(readiness, redis):
    before = readiness.warnings()
    redis.warning = "the clocks differ"

    assert before == []
    assert readiness.warnings() == ["the clocks differ"]


def test_without_redis_kafka_alone_is_checked(kafka):
    problems = Readiness.of(kafka, ["orders"], lambda: False, None).problems()

    assert problems == ["Kafka is not checked yet"]


def test_a_problem_of_redis_is_a_warning_if_replies_come_straight_from_kafka(
    kafka, redis, draining
):
    reader: Any = Dependency()
    found = Readiness.of(kafka, ["orders"], lambda: False, redis, reader, needs_redis=False)
    found.start()
    try:
        redis.found = "Redis is out of memory"
        redis.warning = "the clocks differ"
        warnings = ["Redis is out of memory", "the clocks differ"]
        eventually(lambda: (found.problems(), found.warnings()) == ([], warnings))
        reader.found = "the replies to this gateway are not read"
        eventually(lambda: found.problems() == [reader.found])
    finally:
        found.close()


def shown_problem(subject: str) -> float:
    return REGISTRY.get_sample_value("rendezvous_check_fails", {"check": subject}) or 0


def test_the_metric_shows_a_problem_until_it_is_gone(readiness, redis):
    redis.found = "Redis is out of memory"
    eventually(lambda: shown_problem("redis") == 1)
    redis.found = None

    eventually(lambda: shown_problem("redis") == 0)


def test_the_metric_shows_no_warning(kafka, redis):
    keys: Any = Dependency()
    keys.warning = lambda: "the keys are old"
    reader: Any = Dependency()
    redis.found = "Redis is out of memory"
    found = Readiness.of(kafka, ["orders"], bool, redis, reader, needs_redis=False, token_keys=keys)
    found.start()
    try:
        eventually(lambda: found.warnings() == ["Redis is out of memory", "the keys are old"])
        shown = {subject: shown_problem(subject) for subject in ("redis", "jwt_jwks_url")}
        keys.found = "no keys"
        eventually(lambda: shown_problem("jwt_jwks_url") == 1)
        runs = len(redis.checked) + 3
        eventually(lambda: len(redis.checked) > runs)
    finally:
        found.close()

    assert shown == {"redis": 0, "jwt_jwks_url": 0}
    assert shown_problem("jwt_jwks_url") == 1


def test_a_problem_is_logged_once(readiness, redis, caplog):
    caplog.set_level("INFO")
    redis.found = "out of memory"
    eventually(lambda: "out of memory" in str(readiness.problems()))
    runs = len(redis.checked)
    eventually(lambda: len(redis.checked) > runs + 3)

    assert len([record for record in caplog.records if "out of memory" in record.message]) == 1


def test_a_draining_process_is_not_ready(readiness, draining):
    eventually(lambda: readiness.problems() == [])
    draining[0] = True

    assert readiness.problems() == ["this process is shutting down"]


def test_a_hanging_check_is_a_problem_although_its_last_result_was_good():
    results, resume = [None], threading.Event()
    check = Check("Kafka", lambda: results.pop() if results else str(resume.wait(30)))
    check.start()
    eventually(lambda: not results and check.problem() is None)
    check._checked_s -= STALE_AFTER_S + 1
    problem, shown = check.problem(), shown_problem("kafka")
    resume.set()
    check.close()

    assert problem == "Kafka has not answered for 6 s; check whether it hangs"
    assert shown == 1


def test_the_check_threads_end_after_close(kafka, redis):
    readiness = Readiness.of(kafka, ["orders"], lambda: False, redis)
    readiness.start()
    eventually(lambda: kafka.checked)
    readiness.close()
    threads = [t for t in threading.enumerate() if t.name in ("check-Kafka", "check-Redis")]
    for thread in threads:
        thread.join(10)

    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_check_continues_after_an_unexpected_error(readiness, kafka):
    eventually(lambda: readiness.problems() == [])
    kafka.error = RuntimeError("unexpected")
    runs = len(kafka.checked)
    eventually(lambda: len(kafka.checked) > runs)
    kafka.error = None
    runs = len(kafka.checked)

    eventually(lambda: len(kafka.checked) > runs + 1, within_s=0.5)


# What concerns this process alone


@pytest.mark.parametrize("error", [ConnectionError("refused"), LookupError("orders"), OSError()])
def test_servers_that_fail_are_no_problem_of_this_process(readiness, kafka, redis, error):
    kafka.error = error
    redis.found = "Redis does not answer"
    eventually(lambda: len(readiness.problems()) == 2)

    assert readiness.local_problems() == []


def test_a_draining_process_has_a_problem_of_its_own(readiness, draining):
    eventually(lambda: readiness.local_problems() == [])
    draining[0] = True

    assert readiness.local_problems() == ["this process is shutting down"]


def test_a_process_that_has_checked_nothing_yet_has_a_problem_of_its_own(kafka, redis):
    problems = Readiness.of(kafka, ["orders"], lambda: False, redis).local_problems()

    assert problems == ["Kafka is not checked yet", "Redis is not checked yet"]


@pytest.mark.parametrize(
    ("age_s", "problem"),
    [
        (STALE_AFTER_S - 1, "Kafka is not checked yet"),
        # A server that hangs, for every replica.
        (STALE_AFTER_S + 1, None),
        (STUCK_AFTER_S + 1, "the check of Kafka has been stuck for 121 s; restart this process"),
    ],
)
def test_a_check_that_does_not_end_is_a_defect_once_no_server_explains_it(age_s, problem):
    resume = threading.Event()
    check = Check("Kafka", lambda: str(resume.wait(30)))
    check.start()
    check._checked_s -= age_s
    found = check.local_problem()
    resume.set()
    check.close()

    assert found == problem
