"""The embedded Redis."""

import socket

import pytest

from tests.tools.devstack.support import LIMIT_S
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.ports import LOOPBACK

pytestmark = pytest.mark.integration


def test_redis_is_empty_after_a_restart_and_never_evicts():
    with EmbeddedRedis() as redis:
        assert send_command(redis, "CONFIG GET maxmemory-policy").endswith("noeviction\r\n")
        assert send_command(redis, "SET a b") == "+OK\r\n"

        redis.restart()

        assert send_command(redis, "GET a") == "$-1\r\n"


def send_command(redis: EmbeddedRedis, command: str) -> str:
    with socket.create_connection((LOOPBACK, redis.port), LIMIT_S) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(4096).decode()
