"""Warnings, Hypothesis profiles and options for all tests."""

import warnings

import pytest
from hypothesis import HealthCheck, settings

with warnings.catch_warnings():
    # kafka-python reads its schemas with a function that Python 3.11 deprecated and 3.13 restored.
    # Ignored during its import only; any later warning is an error.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka.admin
    import kafka.consumer
    import kafka.producer  # noqa: F401

from tests.support.brokers import BROKERS

# The same examples in every run, without a deadline for each, so that results depend neither on
# chance nor on the speed of the machine.
settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
# `make fuzz` searches for new counterexamples.
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
