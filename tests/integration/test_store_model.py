"""The store on a real server against its model: who wins, what stays, and for how long."""

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.store_model import play
from tools.devstack.embedded_redis import EmbeddedRedis

pytestmark = pytest.mark.integration


@pytest.fixture
def redis() -> Iterator[Redis]:
    with EmbeddedRedis() as server:
        client = Redis.from_url(server.url)
        yield client
        client.close()


def test_a_real_server_does_what_the_model_says(redis: Redis):
    play(redis, max_examples=150, steps=40)
