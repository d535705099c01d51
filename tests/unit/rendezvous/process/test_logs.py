"""Logs are one event per line, as text or JSON."""

import json
import logging
import sys
import threading

import pytest

from rendezvous.process.logs import configure_logs
from tests.support.token_issuer import part


@pytest.fixture(autouse=True)
def restored_loggers():
    root, kafka = logging.getLogger(), logging.getLogger("kafka")
    before = root.level, list(root.handlers), kafka.level
    hooks = sys.excepthook, threading.excepthook
    yield
    sys.excepthook, threading.excepthook = hooks
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


KEY = "rdv_" + "k" * 43
#: Characters at which a reader of logs may begin a line, or that change how a line looks.
UNPRINTABLE = [
    "\n",
    "\r",
    "\r\n",
    "\x1b[2K",
    "\x85",
    "\x9b",
    "\u2028",
    "\u2029",
    "\u202e",
    "\x7f",
    "\0",
]
FORMATS = pytest.mark.parametrize("log_format", ["text", "json"])


@FORMATS
@pytest.mark.parametrize("char", UNPRINTABLE)
def test_a_value_begins_no_line(capsys, log_format, char):
    configure_logs(log_format)
    logging.getLogger("replies").warning("topic %s is missing", f"a{char}2026-01-01 INFO forged")

    line = capsys.readouterr().out.removesuffix("\n")
    assert line.isprintable()
    assert "forged" in line
    if log_format == "json":
        assert json.loads(line)["event"] == f"topic a{char}2026-01-01 INFO forged is missing"


def raise_error(text):
    raise ValueError(text)


@FORMATS
@pytest.mark.parametrize("char", [*UNPRINTABLE, " topic=forged", '"', "\\"])
def test_a_field_forges_neither_line_nor_field(capsys, log_format, char):
    configure_logs(log_format)
    value = f"a{char}b"
    extra = {"correlation_id": value, "topic": "orders", "client": None, "duration_ms": 7}
    logging.getLogger("replies").warning("late", extra=extra)

    line = capsys.readouterr().out.removesuffix("\n")
    assert line.isprintable()
    if log_format == "json":
        event = json.loads(line)
        assert line.isascii()
        assert event["correlation_id"] == value
        assert (event["topic"], event["duration_ms"]) == ("orders", 7)
        assert "client" not in event
    else:
        message, *fields = line[line.index("replies: ") :].split(" ")[1:]
        assert message == "late"
        assert [name.partition("=")[0] for name in fields] == [
            "correlation_id",
            "topic",
            "duration_ms",
        ]


@FORMATS
def test_a_key_in_a_field_is_masked(capsys, log_format):
    configure_logs(log_format)
    logging.getLogger("replies").warning("late", extra={"request_id": KEY, "client": KEY.encode()})

    output = capsys.readouterr().out
    assert KEY not in output
    assert output.count("rdv_***") == 2


@FORMATS
def test_a_token_is_masked_anywhere(capsys, log_format):
    header, claims, signature = (part({"alg": "ES256"}), part({"sub": "alice"}), "s" * 40)
    token = f"{header}.{claims}.{signature}"
    configure_logs(log_format)
    logging.getLogger("replies").warning("GET /a?token=%s", token, extra={"request_id": token})

    output = capsys.readouterr().out
    assert not [secret for secret in (claims, signature) if secret in output]
    assert output.count("eyJ***") == 2


def test_json_has_whatever_else_a_call_adds(lines):
    configure_logs("json")
    logging.getLogger("shop").warning("late", extra={"order": {"id": 7}, "at": object()})

    (line,) = lines()
    assert json.loads(line)["order"] == {"id": 7}


def test_json_keeps_a_message_that_is_a_dict_on_one_line(lines):
    configure_logs("json")
    logging.getLogger("shop").warning({"order": "a\n\x7f\u2028b"})

    (line,) = lines()
    assert line.isprintable()
    assert json.loads(line)["order"] == "a\n\x7f\u2028b"


@FORMATS
@pytest.mark.parametrize("char", UNPRINTABLE)
def test_the_text_of_an_exception_begins_no_event(capsys, log_format, char):
    configure_logs(log_format)
    try:
        raise_error(f"no{char}2026-01-01 INFO forged")
    except ValueError:
        logging.getLogger("responder").exception("failed", stack_info=True)

    first, *others = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in (first, *others))
    assert all(line.startswith("  | ") for line in others)
    if log_format == "json":
        assert others == []
        assert f"no{char}2026" in json.loads(first)["exception"]
    else:
        assert first.endswith("responder: failed")
        assert others[0] == "  | Traceback (most recent call last):"


@FORMATS
def test_a_key_is_masked_in_message_and_traceback(capsys, log_format):
    configure_logs(log_format)
    try:
        raise_error(f"the header {KEY} is wrong")
    except ValueError as error:
        logging.getLogger("responder").exception("%s failed for %s", error, KEY.encode())

    output = capsys.readouterr().out
    assert KEY not in output
    assert output.count("rdv_***") == 3


@FORMATS
def test_uncaught_errors_are_events(capsys, log_format):
    configure_logs(log_format)
    error = ValueError(f"{KEY}\nforged")
    sys.excepthook(ValueError, error, None)
    thread = threading.Thread(target=raise_error, args=(f"{KEY}\nforged",), name="poller")
    thread.start()
    thread.join()

    output = capsys.readouterr()
    assert (output.err, KEY in output.out) == ("", False)
    assert "thread poller failed" in output.out
    assert not [line for line in output.out.splitlines() if line.startswith("forged")]
