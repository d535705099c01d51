"""
Errors of Redis: reported by cause, without lost replies.

One gateway gets its replies from Redis, the other one straight from Kafka.
"""

import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import pytest
from redis import Redis

from gateway.exchange.claims import Claim, Claims
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.connecting.opening import open_redis
from tests.support.deployment import Deploy, Deployment, Gateway
from tests.support.records import records_of
from tests.support.reply_topic import ReplyTopic, fetched
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

LIMIT_S = 10.0
TIMEOUT_S = 1.0
USER, PASSWORD = "app", "correct"
LOADING_KEYS = 200

Fault = Callable[[Redis, EmbeddedRedis], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Server]:
    """A Redis for these tests alone, which misconfigure it."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="module")
def redis(redis_server: EmbeddedRedis) -> Iterator[Redis]:
    """A connection to that Redis as administrator."""
    with Redis.from_url(redis_server.url, socket_timeout=20) as client:
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "+@all")
        yield client


@pytest.fixture(scope="module")
def deployment(
    deploy_for_module: Deploy, redis_server: EmbeddedRedis, redis: Redis
) -> Iterator[Deployment]:
    env = {
        "REDIS_URL": f"redis://{USER}:{PASSWORD}@{redis_server.address}/0",
        "REPLY_TIMEOUT_S": str(TIMEOUT_S),
        "WEB_CONCURRENCY": "1",
        "REPLY_DELIVERY": "store",
    }
    with deploy_for_module(env=env) as deployment:
        deployment.start_gateway(REPLY_DELIVERY="direct")
        deployment.wait_until_ready()
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
    redis.execute_command("CLIENT", "KILL", "USER", USER)  # open connections stay authenticated
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
    # A folder in place of the file: not even root can rename a file onto it.
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


def is_named(gateway: Gateway, cause: str) -> bool:
    """Return whether /readyz says that Redis takes no writes, and why."""
    found = str(gateway.get("/readyz").json)
    return "Redis takes no writes: " in found and cause in found


def check_direct(deployment: Deployment, cause: str) -> None:
    """Check that requests need no Redis if their replies come straight and they have no key."""
    direct = deployment.all_gateways[1]
    assert wait_until(lambda: cause in str(direct.get("/readyz").json["warnings"]), LIMIT_S)
    assert direct.get("/readyz").status == 200
    plain = direct.post("/echo", b"plain")
    keyed = direct.post("/echo", b"keyed", Idempotency_Key="keyed")
    assert (plain.status, plain.body) == (200, b"plain")
    assert (keyed.status, keyed.json["type"]) == (503, "/problems/reply-store-unavailable")
    assert keyed.json["sent"] == "no"
    assert cause in keyed.json["detail"]


WRITES_FAIL = [
    pytest.param(setting("maxmemory", "1", "0"), "out of memory", id="OOM"),
    pytest.param(replica_of_another, "read-only replica", id="READONLY"),
    pytest.param(setting("min-replicas-to-write", "1", "0"), "fewer replicas", id="NOREPLICAS"),
    pytest.param(failing_disk, "cannot write to its disk", id="MISCONF"),
    pytest.param(access(["-set"], ["+set"]), "denies this user a command", id="command denied"),
]
ALL_COMMANDS_FAIL = [
    pytest.param(
        access(["resetkeys", "~other:*"], ["resetkeys", "~*"]),
        "denies this user a command or key",
        id="keys denied",
    ),
    pytest.param(wrong_password, "refuses the password", id="wrong password"),
    pytest.param(no_connection_left, "has no connection left", id="maxclients"),
    pytest.param(loading, "is loading its data", id="LOADING"),
]


@pytest.mark.parametrize(("fault", "cause"), WRITES_FAIL)
def test_replies_are_stored_once_redis_accepts_writes_again(
    deployment: Deployment,
    topic: ReplyTopic,
    redis: Redis,
    redis_server: EmbeddedRedis,
    fault: Fault,
    cause: str,
):
    gateway = deployment.gateway
    committed, logged = topic.wait_until_committed(), len(log_of_replies(deployment))
    with fault(redis, redis_server):
        replies = topic.put_many(20)
        assert wait_until(lambda: cause in log_of_replies(deployment)[logged:], LIMIT_S)
        late = gateway.post("/echo", b"sent meanwhile")
        if late.json["sent"] == "yes":  # the gateway had not detected the fault yet
            assert (late.status, late.json["type"]) == (503, "/problems/reply-timeout")
            replies[late.correlation_id] = b"sent meanwhile"
        assert wait_until(lambda: is_named(gateway, cause), LIMIT_S)
        published = len(records_of(deployment, "echo"))
        rejected = [gateway.post("/echo", b"no"), gateway.post("/echo", b"no", Idempotency_Key="k")]
        assert len(records_of(deployment, "echo")) == published
        assert stays_at(topic, committed)
        check_direct(deployment, cause)

    for response in rejected:
        assert response.status == 503
        assert response.json["type"] == "/problems/reply-store-unavailable"
        assert response.json["sent"] == "no"
        assert cause in response.json["detail"]
        assert response.elapsed_s < TIMEOUT_S
    assert_nothing_is_lost(deployment, topic, replies)


@pytest.mark.parametrize(("fault", "cause"), ALL_COMMANDS_FAIL)
def test_responses_name_the_cause_and_no_reply_is_lost(
    deployment: Deployment,
    topic: ReplyTopic,
    redis: Redis,
    redis_server: EmbeddedRedis,
    fault: Fault,
    cause: str,
):
    committed, logged = topic.wait_until_committed(), len(log_of_replies(deployment))
    with fault(redis, redis_server):
        replies = topic.put_many(20)
        assert wait_until(lambda: cause in log_of_replies(deployment)[logged:], LIMIT_S)
        late = deployment.gateway.post("/echo", b"sent meanwhile")
        if late.json["sent"] == "yes":  # the gateway had not detected the fault yet
            replies[late.correlation_id] = b"sent meanwhile"
        rejected = deployment.gateway.post("/echo", b"not published")
        assert stays_at(topic, committed)
        assert wait_until(lambda: cause in deployment.gateway.get("/readyz").body.decode(), LIMIT_S)
        check_direct(deployment, cause)

    for response in (late, rejected):
        assert (response.status, response.json["type"]) == (
            503,
            "/problems/reply-store-unavailable",
        )
        assert cause in response.json["detail"]
    assert late.json["sent"] in ("yes", "no")
    assert rejected.json["sent"] == "no"
    assert rejected.elapsed_s < TIMEOUT_S
    assert_nothing_is_lost(deployment, topic, replies)


def test_an_evicting_memory_policy_is_logged_at_the_start(
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


def test_the_permissions_that_the_advice_lists_are_sufficient(
    deployment: Deployment, redis: Redis, redis_server: EmbeddedRedis
):
    gateway, direct = deployment.all_gateways
    with access(["resetkeys", "-@all", "+ping"], ["~*", "+@all"])(redis, redis_server):
        assert wait_until(lambda: "allow SET" in str(direct.get("/readyz").json), LIMIT_S)
        assert wait_until(lambda: "allow SET" in str(gateway.get("/readyz").json), LIMIT_S)
        advice = next(p for p in gateway.get("/readyz").json["problems"] if "allow SET" in p)
        commands = [f"+{word.lower()}" for word in re.findall(r"\b[A-Z]{3,}\b", advice)]
        keys = [f"~{key}" for key in re.findall(r"[a-z]+:\*|unwanted", advice)]
        redis.execute_command("ACL", "SETUSER", USER, *commands, *keys)

        assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
        assert wait_until(lambda: direct.get("/readyz").json["warnings"] == [], LIMIT_S)
        # Also those that a gateway needs to choose a partition.
        successor = deployment.start_gateway(REPLY_DELIVERY="direct")
        assert wait_until(lambda: successor.responds("/readyz"), LIMIT_S)
        assert wait_until(lambda: successor.get("/readyz").json["warnings"] == [], LIMIT_S)
        assert "by chance" not in successor.logged()
        first, again = (gateway.post("/echo", b"x", Idempotency_Key="acl") for _ in range(2))
        assert (first.status, again.status) == (200, 200)
        assert again.headers["Idempotent-Replayed"] == "true"
        # Sufficient for releasing a claim too, after Kafka has rejected a record.
        url = deployment.environment["REDIS_URL"]
        with closing(open_redis(url)) as connection:
            claims, claim = Claims(connection, "d"), Claim("fingerprint", "id")
            claims.take("name", claim)
            claims.release("name", claim)
            assert claims.current("name") is None
            # And for marking a request as cancelled.
            cancellations = Cancellations(connection)
            cancellations.mark_cancelled("id")
            assert "id" in cancellations.cancelled_since("")[0]


def log_of_replies(deployment: Deployment) -> str:
    return deployment.named("replies")[0].logged()


def stays_at(topic: ReplyTopic, committed: int) -> bool:
    """Return whether nothing is committed for five times the commit interval."""
    return not wait_until(lambda: topic.committed() != committed, 0.5)


def assert_nothing_is_lost(
    deployment: Deployment, topic: ReplyTopic, replies: dict[str, bytes]
) -> None:
    assert wait_until(lambda: fetched(deployment.gateway, replies) == replies, LIMIT_S)
    topic.wait_until_committed()
    assert wait_until(lambda: deployment.gateway.get("/readyz").status == 200, LIMIT_S)
    assert deployment.gateway.post("/echo", b"afterwards").body == b"afterwards"
    assert {process.child.returncode for process in deployment.processes} == {None}
