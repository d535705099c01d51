"""A Redis that is reached by a Unix socket, by a user of its own."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from redis import Redis

from gateway.exchange.claims import Claim, Claims
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationIds, epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.client import ping
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.replies import Put, ReplyStore
from tools.devstack.embedded_redis import EmbeddedRedis

pytestmark = pytest.mark.integration

IDS = CorrelationIds("a secret of this test")


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    # Its path is relative to the folder of the server: a socket's path has 107 characters at most.
    with EmbeddedRedis(options={"unixsocket": "s"}) as server:
        with Redis.from_url(server.url) as redis:
            redis.execute_command("ACL", "SETUSER", "app", "on", ">p@ss", "~*", "+@all", "-config")
        yield server


def test_the_processes_work_over_a_socket_as_a_user(server: EmbeddedRedis):
    cid = IDS.read(IDS.issue("0a1b2c3d", epoch_ms() + 30_000))
    assert cid is not None
    with closing(open_redis(f"unix://app:p%40ss@{server.folder}/s?db=1")) as redis:
        store, claims, claim = ReplyStore(redis, 60), Claims(redis, "d"), Claim("f", cid.text)
        assert store.put_many([(cid, Reply(cid.text, b"x"))]) == [Put.STORED]
        assert claims.take("name", claim) == claim
        claims.release("name", claim)

    with Redis.from_url(f"redis://{server.address}/1") as others:
        assert others.keys() == [f"reply:{{0a1b2c3d}}:{cid.text}".encode()]


def test_a_wrong_password_is_named(server: EmbeddedRedis):
    with (
        closing(open_redis(f"unix://app:wrong@{server.folder}/s")) as redis,
        pytest.raises(StoreUnavailable, match="refuses the password: correct REDIS_URL"),
    ):
        ping(redis)
