"""The reply store on a real server behaves like its model."""

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.store_model import run_model
from tools.devstack.embedded_redis import EmbeddedRedis

pytestmark = pytest.mark.integration


@pytest.fixture
def redis() -> Iterator[Redis]:
    with EmbeddedRedis() as server:
        client = Redis.from_url(server.url)
        yield client
        client.close()


def test_the_store_on_a_real_server_behaves_like_its_model(redis: Redis):
    run_model(redis, max_examples=150, steps=40)
