"""The servers to start, and the settings with their addresses."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.embedded import FETCH_MAX_WAIT_MS, EmbeddedBroker
from tools.devstack.process.server import Server


@dataclass(frozen=True)
class ServerPlan:
    """Servers to start, and settings for the processes that use them."""

    servers: tuple[Server, ...]
    env: dict[str, str]


def plan_servers(env: Mapping[str, str], kafka: str, *, with_redis: bool = True) -> ServerPlan:
    """
    Return servers and settings for those of KAFKA_URL, REDIS_URL and SECRET_KEY not in *env*.

    Args:
        kafka: "embedded" or "apache".
        with_redis: whether to start a Redis if REDIS_URL is not set.
    """
    servers: list[Server] = []
    settings: dict[str, str] = {}
    if not env.get("KAFKA_URL"):
        broker = ApacheKafka() if kafka == "apache" else EmbeddedBroker()
        servers.append(broker)
        settings["KAFKA_URL"] = broker.url
        if kafka == "embedded" and not env.get("KAFKA_FETCH_MAX_WAIT_MS"):
            settings["KAFKA_FETCH_MAX_WAIT_MS"] = str(FETCH_MAX_WAIT_MS)
    if with_redis and not env.get("REDIS_URL"):
        redis = EmbeddedRedis()
        servers.append(redis)
        settings["REDIS_URL"] = redis.url
    if not env.get("SECRET_KEY"):
        settings["SECRET_KEY"] = secrets.token_hex(32)
    return ServerPlan(tuple(servers), settings)
