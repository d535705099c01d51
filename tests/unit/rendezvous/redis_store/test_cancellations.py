"""Cancelled requests in Redis: read in order, and kept for a limited time."""

import pytest

from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.cancellations import CANCELLED_KEY, CANCELLED_TTL_S


def test_cancelled_ids_are_read_in_order_and_once(cancellations):
    nothing, start = cancellations.cancelled_since("")
    cancellations.mark_cancelled("a")
    cancellations.mark_cancelled("b")
    first, position = cancellations.cancelled_since(start)
    cancellations.mark_cancelled("c")
    second, position = cancellations.cancelled_since(position)
    third, again = cancellations.cancelled_since(position)

    assert (nothing, first, second, third) == ([], ["a", "b"], ["c"], [])
    assert again == position
    assert cancellations.cancelled_since("")[0] == ["a", "b", "c"]


def test_cancelled_ids_expire_and_are_limited_in_number(cancellations, redis, monkeypatch):
    monkeypatch.setattr("rendezvous.redis_store.cancellations.MAX_CANCELLED", 5)
    for number in range(300):
        cancellations.mark_cancelled(str(number))

    assert 0 < redis.ttl(CANCELLED_KEY) <= CANCELLED_TTL_S
    monkeypatch.undo()  # one read returns as many as are kept
    kept, _ = cancellations.cancelled_since("")
    # Approximately: Redis drops whole nodes of the stream.
    assert 5 <= len(kept) < 300
    assert kept == [str(number) for number in range(300 - len(kept), 300)]


@pytest.mark.parametrize(
    "call",
    [lambda c: c.mark_cancelled("a"), lambda c: c.cancelled_since("")],
    ids=["mark_cancelled", "cancelled_since"],
)
def test_an_unreachable_redis_raises_store_unavailable(cancellations, redis_server, call):
    redis_server.connected = False

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        call(cancellations)
