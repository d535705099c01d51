"""The servers of the end-to-end tests; whoever kills one starts it again."""

from tests.e2e.conftest import deploy, kafka, redis_server  # noqa: F401
