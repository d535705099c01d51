"""Claims in Redis: one at a time, for a moment or for long, and free again only by its owner."""

import pytest

from gateway.exchange.claims import TAKEN_MS, Claim, Claims
from rendezvous.errors import StoreUnavailable

OURS, THEIRS = Claim("f1", "id-1"), Claim("f2", "id-2")


@pytest.fixture
def claims(redis):
    return Claims(redis, "d")


def test_who_takes_a_name_first_holds_it(claims):
    assert claims.take("n", OURS) == OURS
    assert claims.take("n", THEIRS) == OURS
    assert claims.holder("n") == OURS
    assert claims.take("another", THEIRS) == THEIRS


def test_a_claim_that_is_repeated_because_its_answer_was_lost_is_still_ours(claims):
    claims.take("n", OURS)

    assert claims.take("n", OURS) == OURS


def test_a_claim_that_is_not_confirmed_is_soon_gone(claims, redis):
    claims.take("n", OURS)

    assert 0 < redis.pttl("once:d:n") <= TAKEN_MS


def test_a_claim_that_is_confirmed_lasts(claims, redis):
    claims.take("n", OURS)

    assert claims.confirm("n", OURS, 60_000) == OURS
    assert 50_000 < redis.pttl("once:d:n") <= 60_000


def test_a_claim_that_is_lost_before_it_is_confirmed_is_seen_to_be(claims, redis):
    claims.take("n", OURS)
    redis.delete("once:d:n")
    assert claims.confirm("n", OURS, 60_000) is None

    claims.take("n", THEIRS)
    assert claims.confirm("n", OURS, 60_000) == THEIRS


def test_a_claim_is_freed_for_the_next(claims):
    claims.take("n", OURS)
    claims.free("n", OURS)

    assert claims.holder("n") is None
    assert claims.take("n", THEIRS) == THEIRS


def test_another_s_claim_stays(claims):
    claims.take("n", THEIRS)
    claims.free("n", OURS)
    claims.free("nobody's", OURS)

    assert claims.holder("n") == THEIRS


def test_a_claim_that_passes_to_another_while_it_is_freed_stays(claims, redis, monkeypatch):
    claims.take("n", OURS)
    transaction = redis.transaction

    def interrupted(func, *watches):
        def late(pipeline):
            if claims.holder("n") == OURS:
                func(pipeline)
                redis.delete("once:d:n")
                claims.take("n", THEIRS)
            else:
                func(pipeline)

        return transaction(late, *watches)

    monkeypatch.setattr(redis, "transaction", interrupted)
    claims.free("n", OURS)

    assert claims.holder("n") == THEIRS


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[1]", b'["a", "b", "c"]', b"7", b"\xff", b"[" * 9999]
)
def test_what_is_no_claim_is_told(claims, redis, value):
    redis.set("once:d:n", value)

    with pytest.raises(StoreUnavailable, match="no claim"):
        claims.take("n", OURS)


@pytest.mark.parametrize(
    "ask",
    [
        lambda claims: claims.take("n", OURS),
        lambda claims: claims.confirm("n", OURS, 1_000),
        lambda claims: claims.holder("n"),
        lambda claims: claims.free("n", OURS),
    ],
    ids=["take", "confirm", "holder", "free"],
)
def test_without_redis_nothing_is_known(claims, redis_server, ask):
    redis_server.connected = False

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        ask(claims)


def test_deployments_that_share_a_redis_do_not_share_claims(redis):
    ours, theirs = Claims(redis, "d"), Claims(redis, "e")
    ours.take("n", Claim("f", "ours"))

    assert theirs.take("n", Claim("f", "theirs")) == Claim("f", "theirs")
    assert ours.holder("n") == Claim("f", "ours")
