"""The entry point of the responder: the clients that it builds, and a start without Redis."""

import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from kafka.errors import KafkaError, KafkaTimeoutError

import responder.__main__ as entry_point
from rendezvous.process.monitoring.health import ProcessHealth
from rendezvous.process.watchdog import Watchdog
from settings import Settings
from tests.fakes import FakeProducer, raising

ROOT = Path(__file__).parents[3]


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
        redis = entry_point._redis(settings, closing)
        journal, cancelled = entry_point._journal_and_cancelled(settings, redis, closing)
        if redis is not None:
            health = ProcessHealth(Watchdog("the loop that takes requests"))
            entry_point._show_state(settings, redis, ["orders"], health, closing)
        assert (journal is not None) == has_journal
        assert "an id" not in cancelled
    assert not {"cancelled", "claims", "live-state"} & {
        thread.name for thread in threading.enumerate()
    }


@pytest.mark.parametrize(
    ("arguments", "env", "error"),
    [
        ([], "no_such_module", "RESPONDER_HANDLERS: there is no module no_such_module; start"),
        (["--handlers", "no_such_module"], "", "RESPONDER_HANDLERS: there is no module no_such_"),
        (["--handlers", "handlers.py,"], "a", "there is no module handlers"),
        (["--handlers", "my-module"], "a", "RESPONDER_HANDLERS=my-module: expected a comma list"),
    ],
)
def test_handlers_that_cannot_be_loaded_end_the_start(tmp_path, arguments, env, error):
    exited = subprocess.run(
        [sys.executable, "-m", "responder", *arguments],
        env={"KAFKA_URL": "b:1", "RESPONDER_HANDLERS": env, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert exited.returncode == 1
    assert error in exited.stderr
    assert len(exited.stderr.splitlines()) == 1


@pytest.mark.parametrize("error", [KafkaTimeoutError("no metadata"), None])
def test_a_missing_dead_letter_topic_is_named_with_its_setting(monkeypatch, error):
    producer = FakeProducer()
    if error is not None:
        monkeypatch.setattr(producer, "partitions_for", raising(error))
    monkeypatch.setattr(entry_point, "KafkaProducer", lambda **options: producer)
    monkeypatch.setattr(entry_point, "PatchedConsumer", raising(KafkaError("not needed here")))
    env = {"KAFKA_URL": "b:1", "KAFKA_PREFIX": "p.", "RESPONDER_DLQ_TOPIC": "dead"}
    settings = Settings.from_env(env, required=("KAFKA_URL",))

    with pytest.raises(ConnectionError if error is None else LookupError) as caught:
        entry_point._clients(settings, ["orders"])

    assert producer.closed
    if error is None:
        assert producer.looked_up == ["p.dead"]
    else:
        assert caught.value.args[0] == "p.dead"
        assert "correct RESPONDER_DLQ_TOPIC" in caught.value.args[1]


def test_a_dead_letter_topic_that_a_handler_reads_ends_the_start(monkeypatch):
    monkeypatch.setenv("KAFKA_URL", "b:1")
    monkeypatch.setenv("RESPONDER_DLQ_TOPIC", "echo")
    monkeypatch.setattr(entry_point, "start_process", start_process_without_signals)

    with pytest.raises(SystemExit, match="RESPONDER_DLQ_TOPIC=echo: a handler reads that topic"):
        entry_point.main([])


def start_process_without_signals(required):
    return Settings.from_env(required=required), threading.Event()
