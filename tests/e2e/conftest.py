"""One Kafka of each kind and one Redis for all tests of the session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.deployment import Deployment
from tools.devstack.apache_kafka import ApacheKafka
from tools.devstack.broker import EmbeddedBroker
from tools.devstack.server import Server
from tools.devstack.valkey import EmbeddedRedis


@pytest.fixture(scope="session", params=["embedded", "apache"])
def kafka(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "apache":
        reason = ApacheKafka.unavailable_reason()
        if reason is not None and os.environ.get("CI") == "true":
            pytest.fail(reason)
        if reason is not None:
            pytest.skip(reason)
    with ApacheKafka() if request.param == "apache" else EmbeddedBroker() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def deploy(kafka: Server, redis_server: Server, tmp_path: Path) -> Callable[..., Deployment]:
    """Return a function that makes a deployment of its own on the shared servers."""

    def make(**options: Any) -> Deployment:
        return Deployment(kafka, redis_server, tmp_path, **options)

    return make
