"""Brokers of a test run: the --kafka option and its default."""

import pytest

from tests.support.brokers import brokers_of_run, require_apache
from tools.devstack.kafka.apache import ApacheKafka


@pytest.fixture(autouse=True)
def apache_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApacheKafka, "unavailable_reason", lambda: "java is missing")
    monkeypatch.delenv("CI", raising=False)
    brokers_of_run.cache_clear()


@pytest.mark.parametrize(
    ("choice", "brokers"),
    [("embedded", ("embedded",)), ("apache", ("apache",)), ("both", ("embedded", "apache"))],
)
def test_the_option_chooses_the_brokers(choice: str, brokers: tuple[str, ...]):
    assert brokers_of_run(choice) == brokers


def test_the_default_is_apache_if_it_is_available(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ApacheKafka, "unavailable_reason", lambda: None)

    assert brokers_of_run(None) == ("apache",)


def test_the_default_is_embedded_without_apache():
    assert brokers_of_run(None) == ("embedded",)


def test_ci_requires_apache(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CI", "true")

    assert brokers_of_run(None) == ("apache",)
    with pytest.raises(pytest.fail.Exception, match="java is missing"):
        require_apache()


def test_tests_on_apache_are_skipped_without_it_outside_ci():
    with pytest.raises(pytest.skip.Exception, match="java is missing"):
        require_apache()
