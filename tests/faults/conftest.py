"""The servers and deployments are those of the tests of the whole; what was measured is told."""

import os

import pytest

from tests.e2e.conftest import deploy, kafka, redis_server
from tools.devstack.apache_kafka import ApacheKafka

__all__ = ["deploy", "kafka", "redis_server"]


@pytest.fixture(scope="session")
def needs_apache() -> None:
    """Skip what needs Apache Kafka where it cannot run; in CI that is a failure."""
    reason = ApacheKafka.unavailable_reason()
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests have recorded with record_property()."""
    terminalreporter.section("measured")
    for outcome in ("passed", "failed"):
        for test in terminalreporter.getreports(outcome):
            for name, value in test.user_properties:
                terminalreporter.line(f"{test.nodeid.rpartition('::')[2]}: {name}: {value}")
