"""Warnings, Hypothesis profiles and options for all tests."""

import warnings

import pytest
from hypothesis import HealthCheck, settings

with warnings.catch_warnings():
    # kafka-python reads its schemas with a function that Python 3.11 deprecated and 3.13 took back.
    # Only while it is imported; a warning of anybody's later on is still an error.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka.admin
    import kafka.consumer
    import kafka.producer  # noqa: F401

from tests.support.brokers import BROKERS

# The same examples in every run, and no bound on the time of each: a test run finds what is broken,
# and does not fail for what it happened to discover or for a busy machine.
settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
# `make fuzz`: to discover.
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=3_000,
    stateful_step_count=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kafka",
        choices=[*BROKERS, "both"],
        help="broker of the end-to-end tests; default: apache if Java and Maven are there or "
        "CI=true, otherwise embedded",
    )
