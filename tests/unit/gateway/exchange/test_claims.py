"""Claims in Redis: one per key, short until confirmed, released only by their request."""

from dataclasses import replace

import pytest

from gateway.exchange.claims import TAKEN_MS, Claim, Claims, claim_name, claims_of, fingerprint_of
from rendezvous.contract import Request
from rendezvous.errors import StoreUnavailable

OWN, OTHER = Claim("f1", "id-1"), Claim("f2", "id-2")
REQUEST = Request("an id", "orders", "replies", 1, b"body", "text/plain", "POST", "/a", "b=c")


@pytest.fixture
def claims(redis):
    return Claims(redis, "d")


def test_the_first_claim_on_a_name_is_current(claims):
    assert claims.take("n", OWN) == OWN
    assert claims.take("n", OTHER) == OWN
    assert claims.current("n") == OWN
    assert claims.take("another", OTHER) == OTHER


def test_taking_a_claim_again_returns_it(claims):
    claims.take("n", OWN)

    assert claims.take("n", OWN) == OWN


def test_an_unconfirmed_claim_expires_soon(claims, redis):
    claims.take("n", OWN)

    assert 0 < redis.pttl("once:d:n") <= TAKEN_MS


def test_a_confirmed_claim_lasts(claims, redis):
    claims.take("n", OWN)

    assert claims.confirm("n", OWN, 60_000) == OWN
    assert 50_000 < redis.pttl("once:d:n") <= 60_000


def test_confirming_returns_the_current_claim_when_the_own_one_expired(claims, redis):
    claims.take("n", OWN)
    redis.delete("once:d:n")
    assert claims.confirm("n", OWN, 60_000) is None

    claims.take("n", OTHER)
    assert claims.confirm("n", OWN, 60_000) == OTHER


def test_a_released_name_can_be_claimed(claims):
    claims.take("n", OWN)
    claims.release("n", OWN)

    assert claims.current("n") is None
    assert claims.take("n", OTHER) == OTHER


def test_releasing_does_not_delete_the_claim_of_another_request(claims):
    claims.take("n", OTHER)
    claims.release("n", OWN)
    claims.release("unclaimed", OWN)

    assert claims.current("n") == OTHER


def test_releasing_does_not_delete_a_claim_that_is_made_meanwhile(claims, redis, monkeypatch):
    claims.take("n", OWN)
    transaction = redis.transaction

    def interrupted(func, *watches):
        def late(pipeline):
            if claims.current("n") == OWN:
                func(pipeline)
                redis.delete("once:d:n")
                claims.take("n", OTHER)
            else:
                func(pipeline)

        return transaction(late, *watches)

    monkeypatch.setattr(redis, "transaction", interrupted)
    claims.release("n", OWN)

    assert claims.current("n") == OTHER


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[1]", b'["a", "b", "c"]', b"7", b"\xff", b"[" * 9999]
)
def test_a_malformed_claim_is_reported(claims, redis, value):
    redis.set("once:d:n", value)

    with pytest.raises(StoreUnavailable, match="malformed claim"):
        claims.take("n", OWN)


@pytest.mark.parametrize(
    "call",
    [
        lambda claims: claims.take("n", OWN),
        lambda claims: claims.confirm("n", OWN, 1_000),
        lambda claims: claims.current("n"),
        lambda claims: claims.release("n", OWN),
    ],
    ids=["take", "confirm", "current", "release"],
)
def test_without_redis_claims_are_unavailable(claims, redis_server, call):
    redis_server.connected = False

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        call(claims)


def test_deployments_that_share_a_redis_do_not_share_claims(redis):
    first, second = Claims(redis, "d"), Claims(redis, "e")
    first.take("n", OWN)

    assert second.take("n", OTHER) == OTHER
    assert first.current("n") == OWN


def test_two_clients_never_claim_the_same_name():
    clients_and_keys = [("", "ab"), ("a", "b"), ("ab", ""), ("b", "a")]

    assert len({claim_name(client, key) for client, key in clients_and_keys}) == 4


def test_a_retry_has_the_same_fingerprint():
    retry = replace(
        REQUEST, correlation_id="another", deadline_ms=2, headers=(("x-request-id", "2"),)
    )

    assert fingerprint_of(retry) == fingerprint_of(REQUEST)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/b"},
        {"query": "b=d"},
        {"content_type": "text/html"},
        {"content_type": None},
        {"body": b"other"},
        {"key": b"another record key"},
        # Bytes move from one part to the next.
        {"path": "/ab=c", "query": ""},
        {"content_type": "text/plainbody", "body": b""},
    ],
)
def test_another_request_has_another_fingerprint(change):
    assert fingerprint_of(replace(REQUEST, **change)) != fingerprint_of(REQUEST)


def test_no_content_type_and_an_empty_one_have_different_fingerprints():
    without, empty = replace(REQUEST, content_type=None), replace(REQUEST, content_type="")

    assert fingerprint_of(without) != fingerprint_of(empty)


# While SECRET_KEY is being replaced


@pytest.fixture
def of_both(redis):
    return claims_of(redis, ("new", "old"))


def test_one_key_needs_one_claim(redis):
    assert type(claims_of(redis, ("d",))) is Claims


@pytest.mark.parametrize("deployment", ["old", "new"])
def test_a_claim_under_either_key_is_found_and_none_is_left_under_the_other(
    redis, of_both, deployment
):
    single = Claims(redis, deployment)
    single.take("n", OTHER)

    assert of_both.take("n", OWN) == OTHER
    assert of_both.current("n") == OTHER
    assert of_both.is_current("n", OTHER)
    assert not of_both.is_current("n", OWN)
    assert redis.keys() == [f"once:{deployment}:n".encode()]


@pytest.mark.parametrize("deployment", ["old", "new"])
def test_replicas_with_one_key_find_the_claim_of_one_with_both(redis, of_both, deployment):
    single = Claims(redis, deployment)
    assert of_both.take("n", OWN) == OWN
    assert single.take("n", OTHER) == OWN
    assert of_both.confirm("n", OWN, 60_000) == OWN
    assert redis.pttl(f"once:{deployment}:n") > TAKEN_MS
    of_both.release("n", OWN)

    assert single.take("n", OTHER) == OTHER


@pytest.mark.parametrize("deployment", ["old", "new"])
def test_a_claim_that_is_lost_under_one_key_is_not_confirmed_under_the_other(
    redis, of_both, deployment
):
    of_both.take("n", OWN)
    redis.delete(f"once:{deployment}:n")  # expired
    Claims(redis, deployment).take("n", OTHER)

    assert of_both.confirm("n", OWN, 60_000) == OTHER
    assert redis.keys() == [f"once:{deployment}:n".encode()]
