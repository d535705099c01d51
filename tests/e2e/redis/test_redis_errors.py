"""A Redis that answers, but not with yes: each refusal has its words and costs no reply."""

import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import pytest
from redis import Redis

from gateway.exchange.claims import Claim, Claims
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.client import open_redis
from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deployment
from tests.support.reply_topic import ReplyTopic, fetched
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

# Which Kafka it is makes no difference to what Redis says.
pytestmark = [
    pytest.mark.e2e,
    on_embedded_broker,
]

LIMIT_S = 10.0
TIMEOUT_S = 1.0
USER, PASSWORD = "app", "correct"
LOADING_KEYS = 200

Fault = Callable[[Redis, EmbeddedRedis], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Server]:
    """A Redis of our own: it is about to be treated badly."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="module")
def redis(redis_server: EmbeddedRedis) -> Iterator[Redis]:
    """The administrator of that Redis."""
    with Redis.from_url(redis_server.url, socket_timeout=20) as client:
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "+@all")
        yield client


@pytest.fixture(scope="module")
def deployment(
    kafka: Server,
    redis_server: EmbeddedRedis,
    redis: Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    env = {
        "REDIS_URL": f"redis://{USER}:{PASSWORD}@{redis_server.address}/0",
        "REPLY_TIMEOUT_S": str(TIMEOUT_S),
        "WEB_CONCURRENCY": "1",
    }
    folder = tmp_path_factory.mktemp("redis-refuses")
    with Deployment(kafka, redis_server, folder, env=env) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def topic(deployment: Deployment) -> Iterator[ReplyTopic]:
    with ReplyTopic(deployment) as topic:
        yield topic


def setting(name: str, bad: str, good: str) -> Fault:
    @contextmanager
    def fault(redis: Redis, server: EmbeddedRedis) -> Iterator[None]:
        redis.config_set(name, bad)
        try:
            yield
        finally:
            redis.config_set(name, good)

    return fault


def access(bad: list[str], good: list[str]) -> Fault:
    @contextmanager
    def fault(redis: Redis, server: EmbeddedRedis) -> Iterator[None]:
        redis.execute_command("ACL", "SETUSER", USER, *bad)
        try:
            yield
        finally:
            redis.execute_command("ACL", "SETUSER", USER, *good)

    return fault


@contextmanager
def wrong_password(redis: Redis, server: EmbeddedRedis) -> Iterator[None]:
    redis.execute_command("ACL", "SETUSER", USER, "resetpass", ">another")
    redis.execute_command("CLIENT", "KILL", "USER", USER)  # who is in stays in
    try:
        yield
    finally:
        redis.execute_command("ACL", "SETUSER", USER, "resetpass", f">{PASSWORD}")


@contextmanager
def no_connection_left(redis: Redis, server: EmbeddedRedis) -> Iterator[None]:
    with setting("maxclients", "1", "10000")(redis, server):
        redis.execute_command("CLIENT", "KILL", "USER", USER)
        yield


@contextmanager
def replica_of_another(redis: Redis, server: EmbeddedRedis) -> Iterator[None]:
    with EmbeddedRedis() as primary:
        redis.execute_command("REPLICAOF", "127.0.0.1", primary.port)
        try:
            yield
        finally:
            redis.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def failing_disk(redis: Redis, server: EmbeddedRedis) -> Iterator[None]:
    # A folder in the place of the file: also root cannot rename a file onto it.
    obstacle = server.folder / "dump.rdb"
    obstacle.mkdir()
    redis.config_set("save", "3600 1000000")
    redis.bgsave()
    assert wait_until(lambda: redis.info()["rdb_last_bgsave_status"] == "err", LIMIT_S)
    try:
        yield
    finally:
        obstacle.rmdir()
        redis.config_set("save", "")


@contextmanager
def loading(redis: Redis, server: EmbeddedRedis) -> Iterator[None]:
    for n in range(LOADING_KEYS):
        redis.set(f"ballast:{n}", secrets.token_bytes(2_000))
    redis.config_set("loading-process-events-interval-bytes", 1024)
    redis.config_set("key-load-delay", 20_000)  # microseconds
    reload = threading.Thread(target=lambda: redis.execute_command("DEBUG", "RELOAD"))
    reload.start()
    try:
        yield
    finally:
        reload.join(20)
        redis.config_set("key-load-delay", 0)
        redis.delete(*[f"ballast:{n}" for n in range(LOADING_KEYS)])


REFUSES_WRITES = [
    pytest.param(setting("maxmemory", "1", "0"), "out of memory", id="OOM"),
    pytest.param(replica_of_another, "read-only replica", id="READONLY"),
    pytest.param(setting("min-replicas-to-write", "1", "0"), "fewer replicas", id="NOREPLICAS"),
    pytest.param(failing_disk, "cannot write to its disk", id="MISCONF"),
    pytest.param(access(["-set"], ["+set"]), "denies this user a command", id="command denied"),
]
REFUSES_ALL = [
    pytest.param(
        access(["resetkeys", "~other:*"], ["resetkeys", "~*"]),
        "denies this user a command or key",
        id="keys denied",
    ),
    pytest.param(wrong_password, "refuses the password", id="wrong password"),
    pytest.param(no_connection_left, "has no connection left", id="maxclients"),
    pytest.param(loading, "is loading its data", id="LOADING"),
]


@pytest.mark.parametrize(("fault", "words"), REFUSES_WRITES)
def test_replies_wait_while_redis_takes_none_and_can_be_fetched_afterwards(
    deployment: Deployment,
    topic: ReplyTopic,
    redis: Redis,
    redis_server: EmbeddedRedis,
    fault: Fault,
    words: str,
):
    committed, said = topic.wait_until_committed(), len(log_of_replies(deployment))
    with fault(redis, redis_server):
        replies = topic.put_many(20)
        assert wait_until(lambda: words in log_of_replies(deployment)[said:], LIMIT_S)
        late = deployment.gateway.post("/echo", b"asked meanwhile")
        replies[late.correlation_id] = b"asked meanwhile"
        assert stays(topic, committed)

    assert (late.status, late.json["type"]) == (503, "/problems/reply-timeout")
    assert late.json["sent"] == "yes"
    nothing_is_lost(deployment, topic, replies)


@pytest.mark.parametrize(("fault", "words"), REFUSES_ALL)
def test_clients_are_told_what_keeps_redis_from_answering_and_nothing_is_lost(
    deployment: Deployment,
    topic: ReplyTopic,
    redis: Redis,
    redis_server: EmbeddedRedis,
    fault: Fault,
    words: str,
):
    committed, said = topic.wait_until_committed(), len(log_of_replies(deployment))
    with fault(redis, redis_server):
        replies = topic.put_many(20)
        assert wait_until(lambda: words in log_of_replies(deployment)[said:], LIMIT_S)
        late = deployment.gateway.post("/echo", b"asked meanwhile")
        if late.json["sent"] == "yes":  # the gateway had not noticed yet
            replies[late.correlation_id] = b"asked meanwhile"
        refused = deployment.gateway.post("/echo", b"not even asked")
        assert stays(topic, committed)
        assert wait_until(lambda: words in deployment.gateway.get("/readyz").body.decode(), LIMIT_S)

    for response in (late, refused):
        assert (response.status, response.json["type"]) == (
            503,
            "/problems/reply-store-unavailable",
        )
        assert words in response.json["detail"]
    assert late.json["sent"] in ("yes", "no")
    assert refused.json["sent"] == "no"
    assert refused.elapsed_s < TIMEOUT_S
    nothing_is_lost(deployment, topic, replies)


def test_a_policy_that_may_drop_replies_is_warned_of_at_the_start(
    deployment: Deployment, redis: Redis, redis_server: EmbeddedRedis
):
    with setting("maxmemory-policy", "allkeys-lru", "noeviction")(redis, redis_server):
        started = deployment.start("replies", REPLIES_GROUP="of-its-own")
        try:
            assert wait_until(
                lambda: "maxmemory-policy allkeys-lru, which drops unread" in started.logged(),
                LIMIT_S,
            )
        finally:
            assert started.child.stop(LIMIT_S) == 0
            deployment.processes.remove(started)


def test_what_it_advises_a_user_to_be_allowed_is_enough(
    deployment: Deployment, redis: Redis, redis_server: EmbeddedRedis
):
    gateway = deployment.gateway
    with access(["resetkeys", "-@all", "+ping"], ["~*", "+@all"])(redis, redis_server):
        assert wait_until(lambda: "allow SET" in str(gateway.get("/readyz").json), LIMIT_S)
        advice = next(p for p in gateway.get("/readyz").json["problems"] if "allow SET" in p)
        commands = [f"+{word.lower()}" for word in re.findall(r"\b[A-Z]{3,}\b", advice)]
        keys = [f"~{key}" for key in re.findall(r"[a-z]+:\*|unwanted", advice)]
        redis.execute_command("ACL", "SETUSER", USER, *commands, *keys)

        assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
        first, again = (gateway.post("/echo", b"x", Idempotency_Key="acl") for _ in range(2))
        assert (first.status, again.status) == (200, 200)
        assert again.headers["Idempotent-Replayed"] == "true"
        # And to give a key back, which it does for what Kafka refuses.
        url = deployment.environment["REDIS_URL"]
        with closing(open_redis(url)) as its_own:
            claims, claim = Claims(its_own, "d"), Claim("fingerprint", "id")
            claims.take("name", claim)
            claims.free("name", claim)
            assert claims.holder("name") is None
            # And to tell responders what was cancelled.
            cancellations = Cancellations(its_own)
            cancellations.mark_cancelled("id")
            assert "id" in cancellations.cancelled_since("")[0]


def log_of_replies(deployment: Deployment) -> str:
    return deployment.named("replies")[0].logged()


def stays(topic: ReplyTopic, committed: int) -> bool:
    """Say whether nothing is committed for five times the pause between two commits."""
    return not wait_until(lambda: topic.committed() != committed, 0.5)


def nothing_is_lost(deployment: Deployment, topic: ReplyTopic, replies: dict[str, bytes]) -> None:
    assert wait_until(lambda: fetched(deployment.gateway, replies) == replies, LIMIT_S)
    topic.wait_until_committed()
    assert deployment.gateway.post("/echo", b"as before").body == b"as before"
    assert [process.child.returncode for process in deployment.processes] == [None, None, None]
