"""The clients that the responder's entry point builds."""

import pytest
from kafka.errors import KafkaError

import responder.__main__ as entry_point
from settings import Settings
from tests.fakes import FakeProducer


def test_no_refusal_and_no_restart_of_a_broker_is_the_end_of_the_producer_of_replies(
    monkeypatch: pytest.MonkeyPatch,
):
    built: list[FakeProducer] = []

    def new_producer(**options):
        built.append(FakeProducer(**options))
        return built[-1]

    def no_consumer(**options):
        raise KafkaError("not needed here")

    monkeypatch.setattr(entry_point, "KafkaProducer", new_producer)
    monkeypatch.setattr(entry_point, "KafkaConsumer", no_consumer)
    settings = Settings.from_env({"KAFKA_URL": "b:1"}, needs=("KAFKA_URL",))

    with pytest.raises(ConnectionError):
        entry_point._clients(settings, ["orders"])

    # An idempotent producer of kafka-python 3.0 does not survive either.
    assert built[0].options["enable_idempotence"] is False
    assert built[0].closed


def test_a_responder_without_redis_hears_of_no_cancellations():
    settings = Settings.from_env({"KAFKA_URL": "b:1"}, needs=("KAFKA_URL",))

    assert entry_point._unwanted(settings) is None


def test_a_redis_that_is_not_there_keeps_no_responder_from_starting():
    # Port 1 of this machine refuses.
    env = {"KAFKA_URL": "b:1", "REDIS_URL": "redis://127.0.0.1:1/0"}
    unwanted = entry_point._unwanted(Settings.from_env(env, needs=("KAFKA_URL",)))

    assert unwanted is not None
    assert "an id" not in unwanted
    unwanted.close()
