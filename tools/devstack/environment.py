"""The servers to start and the environment of the processes, from our own environment."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.embedded import FETCH_MAX_WAIT_MS, EmbeddedBroker
from tools.devstack.process.server import Server


@dataclass(frozen=True)
class Plan:
    """What to start (``servers``) and what its users have to be told (``env``)."""

    servers: tuple[Server, ...]
    env: dict[str, str]


def plan(env: Mapping[str, str], kafka: str) -> Plan:
    """
    Return what *env* leaves to us: KAFKA_URL, REDIS_URL and SECRET_KEY, where they are not set.

    Args:
        kafka: "embedded" or "apache".
    """
    servers: list[Server] = []
    ours: dict[str, str] = {}
    if not env.get("KAFKA_URL"):
        broker = ApacheKafka() if kafka == "apache" else EmbeddedBroker()
        servers.append(broker)
        ours["KAFKA_URL"] = broker.url
        if kafka == "embedded" and not env.get("KAFKA_FETCH_MAX_WAIT_MS"):
            ours["KAFKA_FETCH_MAX_WAIT_MS"] = str(FETCH_MAX_WAIT_MS)
    if not env.get("REDIS_URL"):
        redis = EmbeddedRedis()
        servers.append(redis)
        ours["REDIS_URL"] = redis.url
    if not env.get("SECRET_KEY"):
        ours["SECRET_KEY"] = secrets.token_hex(32)
    return Plan(tuple(servers), ours)
