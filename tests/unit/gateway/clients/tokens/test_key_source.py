"""The keys of an issuer: fetched in the background, over HTTP."""

import threading

import pytest

from gateway.clients.tokens import key_fetch, key_source
from gateway.clients.tokens.errors import KeysUnavailable, Undecided
from gateway.clients.tokens.key_fetch import FetchError, fetch
from gateway.clients.tokens.key_source import MAX_RETRY_S, MIN_INTERVAL_S, KeySource
from tests.fakes import eventually
from tests.support.token_issuer import TokenIssuer


@pytest.fixture
def issuer():
    with TokenIssuer().serving() as found:
        yield found


@pytest.fixture
def new(issuer):
    made = []

    def build(refresh_s=60.0, **options):
        found = KeySource(issuer.url, ("RS256", "ES256"), refresh_s, **options)
        made.append(found)
        found.start()
        return found

    yield build
    for source in made:
        source.close()


def test_the_keys_are_fetched_at_the_start_and_again_after_the_interval(new, issuer):
    source = new(refresh_s=0.05)
    eventually(lambda: source.keys is not None)
    first = source.keys

    eventually(lambda: issuer.requests >= 3)
    assert source.keys is first  # unchanged, so that verified tokens are remembered
    issuer.add_key("2")

    eventually(lambda: source.keys.find("2", "ES256") is not None)


def test_while_the_url_fails_the_last_keys_stay_and_the_error_is_logged_once(
    new, issuer, caplog, monkeypatch
):
    monkeypatch.setattr(key_source, "RETRY_S", 0.01)
    monkeypatch.setattr(key_source, "MAX_RETRY_S", 0.01)
    source = new(refresh_s=0.02)
    eventually(lambda: source.keys is not None)
    kept = source.keys
    issuer.status = 500
    eventually(lambda: source.warning() is not None)
    before = issuer.requests
    eventually(lambda: issuer.requests > before + 3)

    assert source.keys is kept
    assert source.problem() is None
    assert source.warning() == (
        "no token keys from JWT_JWKS_URL: it answers HTTP 500; the last keys stay in use"
    )
    assert caplog.text.count("HTTP 500; the last keys stay in use") == 1
    issuer.status = 200
    eventually(lambda: source.warning() is None)
    assert source.keys is kept


@pytest.mark.parametrize("body", [b'{"keys": []}', b"<html>", b'{"keys": [{"kty": "oct"}]}'])
def test_a_response_without_usable_keys_does_not_replace_them(new, issuer, body):
    source = new(refresh_s=0.02)
    eventually(lambda: source.keys is not None)
    kept = source.keys

    issuer.body = body
    eventually(lambda: source.warning() is not None)

    assert source.keys is kept


def test_pauses_after_failures_grow_up_to_a_limit(new, issuer):
    source = KeySource(issuer.url, ("ES256",), 60.0)
    pauses = []
    for _ in range(6):
        source._note("an error")
        pauses.append(source._pause_s())

    assert pauses == [1, 2, 4, 8, MAX_RETRY_S, MAX_RETRY_S]
    source._note("")
    assert 54 <= source._pause_s() <= 66


def test_an_error_of_ours_does_not_end_the_thread(new, issuer, monkeypatch):
    monkeypatch.setattr(key_source, "RETRY_S", 0.01)
    calls = []

    def failing(url):
        calls.append(url)
        if len(calls) == 1:
            raise RuntimeError("broken")
        return fetch(url)

    source = new(fetch=failing)

    eventually(lambda: source.keys is not None)


# Looking for an unknown key


class Clock:
    now_s = 1_000.0

    def __call__(self):
        return self.now_s


def test_an_unknown_key_is_looked_for_once_in_an_interval(new, issuer):
    clock = Clock()
    source = new(clock=clock)
    eventually(lambda: source.keys is not None and not source._is_fetching)

    for _ in range(20):
        source.look_again(may_wait=True)  # they are new
    assert issuer.requests == 1

    clock.now_s += MIN_INTERVAL_S
    source.look_again(may_wait=True)
    assert issuer.requests == 2


def test_who_cannot_wait_has_the_keys_fetched_nevertheless(new, issuer):
    clock = Clock()
    source = new(clock=clock)
    eventually(lambda: source.keys is not None and not source._is_fetching)
    clock.now_s += MIN_INTERVAL_S

    with pytest.raises(Undecided):
        source.look_again(may_wait=False)

    eventually(lambda: issuer.requests == 2)


def test_after_a_failure_nobody_waits_until_the_next_attempt(new, issuer):
    issuer.status = 500
    source = new()
    eventually(lambda: source._error)

    for may_wait in (True, False):
        with pytest.raises(KeysUnavailable):
            source.look_again(may_wait=may_wait)
    assert issuer.requests == 1


def test_while_an_issuer_hangs_after_a_failure_nobody_waits(new, issuer, monkeypatch):
    monkeypatch.setattr(key_source, "RETRY_S", 0.01)
    issuer.status = 500
    source = new()
    eventually(lambda: source._error)
    issuer.proceed.clear()
    eventually(lambda: source._is_fetching)

    with pytest.raises(KeysUnavailable):
        source.look_again(may_wait=True)


def test_requests_wait_for_the_first_keys(new, issuer):
    issuer.proceed.clear()
    source = new()
    threading.Timer(0.05, issuer.proceed.set).start()

    source.look_again(may_wait=True)

    assert source.keys is not None


def test_requests_wait_only_so_long(new, issuer, monkeypatch):
    monkeypatch.setattr(key_source, "WAIT_S", 0.05)
    issuer.proceed.clear()
    source = new()

    with pytest.raises(KeysUnavailable):
        source.look_again(may_wait=True)
    assert source._waiting == 0


# HTTP


def test_a_redirect_is_not_followed(issuer):
    other = TokenIssuer()
    with other.serving():
        issuer.status, issuer.headers = 302, [("Location", other.url)]
        with pytest.raises(FetchError, match="HTTP 302, a redirect, which is not followed"):
            fetch(issuer.url)

    assert other.requests == 0


@pytest.mark.parametrize("status", [400, 401, 404, 503])
def test_another_status_is_an_error(issuer, status):
    issuer.status = status
    with pytest.raises(FetchError, match=f"it answers HTTP {status}$"):
        fetch(issuer.url)


def test_a_response_that_is_too_large_is_an_error(issuer):
    issuer.body = b"x" * (key_fetch.MAX_RESPONSE_BYTES + 1)

    with pytest.raises(FetchError, match="exceeds 500000 bytes"):
        fetch(issuer.url)


def test_no_answer_is_an_error(issuer, monkeypatch):
    monkeypatch.setattr(key_fetch, "TIMEOUT_S", 0.05)
    issuer.proceed.clear()

    with pytest.raises(FetchError, match=r"no answer \(.*timed out"):
        fetch(issuer.url)
    with pytest.raises(FetchError, match=r"no answer \(.*refused"):
        fetch("http://127.0.0.1:1/keys")
