"""Fixtures of the end-to-end tests, and a summary of the measured values."""

import pytest

from tests.e2e.conftest import deploy, deploy_for_module, kafka, redis_server
from tests.support.brokers import pytest_generate_tests, require_apache

__all__ = ["deploy", "deploy_for_module", "kafka", "pytest_generate_tests", "redis_server"]


@pytest.fixture(scope="session")
def needs_apache() -> None:
    require_apache()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the values that tests recorded with record_property()."""
    terminalreporter.section("measured")
    for outcome in ("passed", "failed"):
        for test in terminalreporter.getreports(outcome):
            for name, value in test.user_properties:
                terminalreporter.line(f"{test.nodeid.rpartition('::')[2]}: {name}: {value}")
