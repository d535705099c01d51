"""Logs are one event per line, as text or JSON."""

import json
import logging
import sys

import pytest

from rendezvous.process.logs import configure_logs


@pytest.fixture(autouse=True)
def restored_loggers():
    root, kafka = logging.getLogger(), logging.getLogger("kafka")
    before = root.level, list(root.handlers), kafka.level
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    kafka.setLevel(before[2])


@pytest.fixture
def lines(capsys):
    return lambda: capsys.readouterr().out.splitlines()


def test_text_has_time_level_logger_and_event(lines):
    configure_logs("text")
    logging.getLogger("gateway.web.app").warning("%s: lost", "the-id")

    (line,) = lines()
    assert line.endswith("WARNING gateway.web.app: the-id: lost")
    assert line[:4].isdigit()


def test_json_is_one_object_per_line(lines):
    configure_logs("json")
    logging.getLogger("gateway.web.app").warning('%s: "lost"\nand more', "the-id")

    (line,) = lines()
    event = json.loads(line)
    assert event["event"] == 'the-id: "lost"\nand more'
    assert event["level"] == "warning"
    assert event["logger"] == "gateway.web.app"
    assert isinstance(event["pid"], int)
    assert event["time"].endswith("Z")


def test_json_has_the_exception_on_the_same_line(lines):
    configure_logs("json")
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("gateway.web.app").exception("failed")

    (line,) = lines()
    assert "KeyError: 'x'" in json.loads(line)["exception"]


def test_info_is_logged_and_debug_is_not(lines):
    configure_logs("text")
    logging.getLogger("replies").info("seen")
    logging.getLogger("replies").debug("unseen")

    assert [line.rpartition(" ")[2] for line in lines()] == ["seen"]


def test_kafka_python_logs_nothing_below_critical(lines):
    configure_logs("text")
    logging.getLogger("kafka.conn").error("a body")

    assert lines() == []


def test_configuring_twice_logs_each_event_once(lines):
    configure_logs("text")
    configure_logs("text")
    logging.getLogger("replies").info("once")

    assert len(lines()) == 1
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stdout
