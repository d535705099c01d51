"""The servers and deployments are those of the tests of the whole."""

from tests.e2e.conftest import deploy, kafka, redis_server

__all__ = ["deploy", "kafka", "redis_server"]
