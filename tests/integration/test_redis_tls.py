"""Redis over TLS: replies, polls, and the advice for each mistake in the settings."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.poller import Poller
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationIds, epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.client import ping
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.replies import Put, ReplyStore
from tests.support.certificates import Authority, require_openssl
from tests.support.tls_proxy import TlsProxy
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.ports import LOOPBACK

pytestmark = pytest.mark.integration

LARGE_BYTES = 900_000
LONG_S = 20.0


@dataclass(frozen=True)
class Secured:
    """A Redis with a TLS port and a plain one, and the file of its certificate authority."""

    address: str
    plain_address: str
    authority: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    require_openssl()
    authority = Authority.make(tmp_path_factory.mktemp("certificates"), "authority")
    keystore = authority.issue("redis", f"IP:{LOOPBACK}")
    with EmbeddedRedis() as redis, TlsProxy(redis.port, keystore) as front:
        yield Secured(f"{LOOPBACK}:{front.port}", redis.address, authority.file)


def verifying(secured: Secured) -> Redis:
    return open_redis(f"rediss://{secured.address}/0?ssl_ca_certs={secured.authority}")


def not_verifying(secured: Secured) -> Redis:
    return open_redis(f"rediss://{secured.address}/0", tls_verify=False)


@pytest.mark.parametrize("connect", [verifying, not_verifying])
def test_a_large_reply_is_fetched_as_it_was_put(secured: Secured, connect, new_id):
    cid = new_id("0a1b2c3d")
    reply = Reply(cid.text, bytes(range(256)) * (LARGE_BYTES // 256))

    with closing(connect(secured)) as redis:
        store = ReplyStore(redis, 60)
        assert store.put_many([(cid, reply)]) == [Put.STORED]
        assert store.fetch(cid.text) == reply


def test_the_poller_finds_replies_over_tls(secured: Secured, new_id):
    with closing(not_verifying(secured)) as redis:
        store, mailbox = ReplyStore(redis, 60), Mailbox()
        with closing(Poller(store, mailbox)) as poller:
            poller.start()
            cid = new_id(mailbox.node)
            with mailbox.waiting_for(cid.text, "slow") as waiter:
                store.put_many([(cid, Reply(cid.text, b"body"))])
                assert waiter.wait(LONG_S) == Reply(cid.text, b"body")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("rediss://{tls}/0", "not trusted: set REDIS_TLS_VERIFY=no if"),
        ("rediss://{tls_by_name}/0?ssl_ca_certs={authority}", "another host: correct the host"),
        (
            "rediss://{plain}/0",
            "does not answer: .* REDIS_URL has rediss:// for a port without TLS",
        ),
        ("redis://{tls}/0", r"cannot be reached: .* \(rediss:// for a TLS port\)"),
    ],
)
def test_a_mistake_is_reported_with_the_setting_to_correct(secured: Secured, url: str, advice: str):
    url = url.format(
        tls=secured.address,
        tls_by_name=secured.address.replace(LOOPBACK, "localhost"),
        plain=secured.plain_address,
        authority=secured.authority,
    )

    with closing(open_redis(url)) as redis:
        with pytest.raises(StoreUnavailable, match=advice) as caught:
            ping(redis)
        assert secured.address not in caught.value.advice


@pytest.fixture
def new_id():
    ids = CorrelationIds("a secret of these tests")
    return lambda node: ids.read(ids.issue(node, epoch_ms() + 30_000))
