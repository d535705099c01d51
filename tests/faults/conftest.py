"""The servers and deployments are those of the tests of the whole; what was measured is told."""

import pytest

from tests.e2e.conftest import deploy, kafka, redis_server

__all__ = ["deploy", "kafka", "redis_server"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests have recorded with record_property()."""
    terminalreporter.section("measured")
    for outcome in ("passed", "failed"):
        for test in terminalreporter.getreports(outcome):
            for name, value in test.user_properties:
                terminalreporter.line(f"{test.nodeid.rpartition('::')[2]}: {name}: {value}")
