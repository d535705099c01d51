"""Kafka and Redis, started once per session; deployments on them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import pytest_generate_tests, require_apache
from tests.support.deployment import Deploy, Deployment
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.process.server import Server

__all__ = ["pytest_generate_tests"]


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "apache":
        require_apache()
    with ApacheKafka() if request.param == "apache" else EmbeddedBroker() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def deploy(kafka: Server, redis_server: Server, tmp_path: Path) -> Deploy:
    """Return a function that makes a Deployment on the shared servers."""

    def make(**options: Any) -> Deployment:
        return Deployment(kafka, redis_server, tmp_path, **options)

    return make


@pytest.fixture(scope="module")
def deploy_for_module(
    kafka: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Deploy:
    """As deploy, for a deployment that the tests of a module share."""

    def make(**options: Any) -> Deployment:
        return Deployment(kafka, redis_server, tmp_path_factory.mktemp("deployment"), **options)

    return make
