"""Which Kafka brokers a test runs on: Apache Kafka, the embedded broker, or both."""

import functools
import os

import pytest

from tools.devstack.kafka.apache import ApacheKafka

BROKERS = ("embedded", "apache")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that uses the ``kafka`` fixture on the brokers of this run, or on one."""
    marks = metafunc.definition.iter_markers("parametrize")
    if "kafka" in metafunc.fixturenames and all(mark.args[0] != "kafka" for mark in marks):
        brokers = brokers_of_run(metafunc.config.getoption("kafka"))
        if metafunc.definition.get_closest_marker("any_broker"):
            brokers = brokers[-1:]
        metafunc.parametrize("kafka", brokers, indirect=True, scope="session")


@functools.cache
def brokers_of_run(choice: str | None) -> tuple[str, ...]:
    """
    Return the brokers of this run.

    Args:
        choice: value of ``--kafka``; None means Apache Kafka where it can run or has to (CI).
    """
    if choice == "both":
        return BROKERS
    if choice is not None:
        return (choice,)
    has_apache = ApacheKafka.unavailable_reason() is None
    return ("apache",) if has_apache or in_ci() else ("embedded",)


def require_apache() -> None:
    """Skip the test if Apache Kafka cannot run here; in CI it fails instead."""
    reason = ApacheKafka.unavailable_reason()
    if reason is None:
        return
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


def _run_on(*brokers: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kafka", brokers, indirect=True, scope="session")


# Marks for tests that do not follow --kafka.
on_embedded_broker = _run_on("embedded")
on_apache_kafka = _run_on("apache")
on_both_brokers = _run_on(*BROKERS)
