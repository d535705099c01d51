"""The entry point of the responder: the clients that it builds, and a start without Redis."""

import threading
from contextlib import ExitStack

import pytest
from kafka.errors import KafkaError

import responder.__main__ as entry_point
from settings import Settings
from tests.fakes import FakeProducer, raising


def test_the_producer_of_replies_is_not_idempotent_and_closed_on_failure(
    monkeypatch: pytest.MonkeyPatch,
):
    built: list[FakeProducer] = []

    def new_producer(**options):
        built.append(FakeProducer(**options))
        return built[-1]

    monkeypatch.setattr(entry_point, "KafkaProducer", new_producer)
    monkeypatch.setattr(entry_point, "PatchedConsumer", raising(KafkaError("not needed here")))
    settings = Settings.from_env({"KAFKA_URL": "b:1"}, required=("KAFKA_URL",))

    with pytest.raises(ConnectionError):
        entry_point._clients(settings, ["orders"])

    # An idempotent producer of kafka-python 3.0 survives neither a refused record nor a broker
    # that lost its state.
    assert built[0].options["enable_idempotence"] is False
    assert built[0].closed


@pytest.mark.parametrize(
    ("env", "has_journal"),
    [
        ({}, False),
        # Port 1 of this machine refuses.
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, False),
        ({"REDIS_URL": "redis://127.0.0.1:1/0", "RESPONDER_JOURNAL": "redis"}, True),
    ],
)
def test_a_responder_starts_without_redis(env: dict[str, str], has_journal: bool):
    settings = Settings.from_env({"KAFKA_URL": "b:1", **env}, required=("KAFKA_URL",))

    with ExitStack() as closing:
        journal, cancelled = entry_point._journal_and_cancelled(settings, closing)
        assert (journal is not None) == has_journal
        assert "an id" not in cancelled
    assert not {"cancelled", "claims"} & {thread.name for thread in threading.enumerate()}
