"""Claims that Redis does not release are released when it answers again."""

import threading

import pytest

from gateway.exchange import releases as module
from gateway.exchange.claims import Claim
from gateway.exchange.releases import Releases
from rendezvous.errors import StoreUnavailable
from tests.fakes import eventually, raising


class ScriptedClaims:
    """
    Claims whose release() records its calls.

    Attributes:
        failing: the names whose claims cannot be released now.
    """

    def __init__(self):
        self.failing: set[str] = set()
        self.tried: list[str] = []
        self.released: list[tuple[str, Claim]] = []
        self.bugs: list[Exception] = []

    def release(self, name, claim):
        self.tried.append(name)
        if name in self.failing:
            raise StoreUnavailable("Redis does not answer")
        if self.bugs:
            raise self.bugs.pop()
        self.released.append((name, claim))


@pytest.fixture(autouse=True)
def short_pause(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.005)


@pytest.fixture
def claims():
    return ScriptedClaims()


@pytest.fixture
def releases(claims):
    releases = Releases(claims)
    yield releases
    claims.failing.clear()
    eventually(lambda: releases._thread is None)


def test_a_claim_is_released_at_once_without_a_thread(claims, releases):
    releases.release("a", Claim("f", "1"))

    assert claims.released == [("a", Claim("f", "1"))]
    assert releases._thread is None


def test_a_claim_that_is_not_released_is_tried_until_redis_answers(claims, releases):
    claims.failing = {"a"}
    releases.release("a", Claim("f", "1"))
    eventually(lambda: len(claims.tried) > 3)
    claims.failing.clear()

    eventually(lambda: claims.released == [("a", Claim("f", "1"))])
    eventually(lambda: releases._thread is None)


def test_the_thread_starts_again_for_a_later_failure(claims, releases):
    for name in ("a", "b"):
        claims.failing = {name}
        releases.release(name, Claim("f", name))
        claims.failing.clear()
        eventually(lambda: releases._thread is None)

    assert [name for name, _ in claims.released] == ["a", "b"]


def test_a_claim_in_a_shard_that_hangs_does_not_hold_up_others(claims, releases):
    claims.failing = {"a", "b"}
    for name in claims.failing:
        releases.release(name, Claim("f", name))
    claims.failing = {"a"}

    eventually(lambda: [name for name, _ in claims.released] == ["b"])


def test_an_unexpected_error_does_not_end_the_thread(claims, releases, caplog):
    claims.failing = {"a", "b"}
    claims.bugs = [RuntimeError("a bug")]
    for name in claims.failing:
        releases.release(name, Claim("f", name))
    claims.failing = set()

    eventually(lambda: {name for name, _ in claims.released} == {"a", "b"})
    assert "releasing idempotency keys failed" in caplog.text


def test_of_too_many_claims_the_latest_are_logged_as_blocked(claims, releases, monkeypatch, caplog):
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    claims.failing = {"a", "b"}
    for name in ("a", "b"):
        releases.release(name, Claim("f", name))
    claims.failing.clear()
    eventually(lambda: releases._thread is None)

    assert [name for name, _ in claims.released] == ["a"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


def test_if_no_thread_can_be_started_the_next_failure_starts_one(claims, releases):
    claims.failing = {"a", "b"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
        releases.release("a", Claim("f", "a"))
    releases.release("b", Claim("f", "b"))
    claims.failing.clear()

    eventually(lambda: {name for name, _ in claims.released} == {"a", "b"})
