"""The logs of gunicorn: fields that no value forges, no API key, no error for any request."""

import json
import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http.wsgi import Response

from gateway.clients.api_keys import new_key
from gateway.clients.client import CLIENT_ENVIRON_KEY
from gateway.clients.request_facts import (
    PROBLEM_ENVIRON_KEY,
    ROUTE_ENVIRON_KEY,
    SENT_ENVIRON_KEY,
    TOPIC_ENVIRON_KEY,
)
from gateway.problems import Sent
from gateway.server.access_log import ACCESS_LOG_FORMAT, JsonAccessLogger, TextAccessLogger
from rendezvous.process.log_fields import FIELDS

KEY = new_key()
OUR_WORKER = "gateway.server.worker.GatewayWorker"
FORMAT = f'%(h)s "%(r)s" %(s)s client=%({{{CLIENT_ENVIRON_KEY}}}e)s'


@pytest.fixture
def log(monkeypatch):
    """Return the line that one request adds to the access log."""

    def line(kind, target="/echo", log_format=FORMAT, headers=(), **environ):
        cfg = Config()
        cfg.set("worker_class", OUR_WORKER)
        cfg.set("accesslog", "-")
        cfg.set("access_log_format", log_format)
        logger = kind(cfg)
        lines: list[str] = []
        monkeypatch.setattr(
            logger.access_log,
            "info",
            lambda text, *more: lines.append(text % more[0] if more else text),
        )
        environ = {
            "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": "POST",
            "RAW_URI": target,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_AUTHORIZATION": f"Bearer {KEY}",
        } | environ
        response = SimpleNamespace(status="200 OK", status_code=200, headers=[*headers], sent=1)
        request = SimpleNamespace(
            headers=[
                (name[5:].replace("_", "-"), v)
                for name, v in environ.items()
                if name[:5] == "HTTP_"
            ]
        )
        logger.access(response, request, environ, timedelta(seconds=1))
        (found,) = lines
        return found

    return line


def test_the_client_is_named_in_text(log):
    named = {CLIENT_ENVIRON_KEY: "shop"}

    assert log(TextAccessLogger, **named) == '127.0.0.1 "POST /echo HTTP/1.1" 200 client=shop'
    assert log(TextAccessLogger).endswith("client=-")


def test_the_client_is_named_in_json(log):
    assert json.loads(log(JsonAccessLogger, **{CLIENT_ENVIRON_KEY: "shop"}))["client"] == "shop"
    assert json.loads(log(JsonAccessLogger))["client"] is None


@pytest.mark.parametrize("kind", [TextAccessLogger, JsonAccessLogger])
def test_a_key_is_not_logged_even_where_it_does_not_belong(log, kind):
    line = log(kind, f"/echo?key={KEY}&again={KEY}")

    assert KEY not in line
    assert "/echo?key=rdv_***&again=rdv_***" in line


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"headers": [("Content-Type", "text/plain"), ("X-Correlation-ID", "an.id")]},
        {"HTTP_X_REQUEST_ID": "order-7/try=1", CLIENT_ENVIRON_KEY: 'sh"op'},
        {"HTTP_X_REQUEST_ID": 'a "quoted" one', CLIENT_ENVIRON_KEY: "sh op"},
        {"target": "/a\\", "REMOTE_ADDR": "un\nknown", "REQUEST_METHOD": 'GE"T'},
        {"target": f'/echo?a="&key={KEY}'},
        {"HTTP_X_FORWARDED_FOR": '10.0.0.1, "\t'},
        {ROUTE_ENVIRON_KEY: "/a/<b>", TOPIC_ENVIRON_KEY: "a"},
    ],
)
def test_our_format_is_written_as_gunicorn_does(log, more):
    line = log(TextAccessLogger, log_format=ACCESS_LOG_FORMAT, **more)

    assert "> " + line == log(TextAccessLogger, log_format="> " + ACCESS_LOG_FORMAT, **more)


#: Values that would begin a line, a field, or the end of a quoted text.
FORGED = {
    "line feed": "a\n127.0.0.1 forged",
    "carriage return": "a\r127.0.0.1 forged",
    "escape": "a\x1b[2Kforged",
    "next line": "a\x85forged",
    "line separator": "a\u2028forged",
    "paragraph separator": "a\u2029forged",
    "C1": "a\x9bforged",
    "right to left": "a\u202eforged",
    "DEL": "a\x7fforged",
    "NUL": "a\0forged",
    "space": "a client=forged",
    "quote": 'a" 200 client=forged',
    "backslash and quote": 'a\\" 200 client=forged',
}
PLACES = (
    "REQUEST_METHOD",
    "RAW_URI",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "HTTP_X_REQUEST_ID",
    CLIENT_ENVIRON_KEY,
    "HTTP_X_FORWARDED_FOR",
)


@pytest.mark.parametrize("place", [*PLACES, "X-Correlation-ID"])
@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED)
def test_a_value_forges_neither_line_nor_field(log, place, value):
    kept = {"HTTP_X_FORWARDED_FOR": "10.0.0.1"} if place == "HTTP_X_FORWARDED_FOR" else {}
    plain = log(TextAccessLogger, log_format=ACCESS_LOG_FORMAT, **kept)
    more = {"headers": [(place, value)]} if place.startswith("X-") else {place: value}

    line = log(TextAccessLogger, log_format=ACCESS_LOG_FORMAT, **more)

    assert line.isprintable()
    assert len(line.split(" ")) == len(plain.split(" "))
    assert line.replace("\\\\", "").replace('\\"', "").count('"') == 2
    event = log(JsonAccessLogger, **more)
    assert event.isprintable()
    assert event.isascii()
    assert json.loads(event).keys() == json.loads(log(JsonAccessLogger)).keys()


@pytest.mark.parametrize("name", ["user-agent", "referer"])
@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED)
def test_other_formats_are_safe_too(log, name, value):
    log_format = f'%(r)s %({{{name}}}i)s "%(f)s" "%(a)s"'
    header = {f"HTTP_{name.replace('-', '_').upper()}": value}

    line = log(TextAccessLogger, log_format=log_format, **header)

    assert line.isprintable()
    unquoted, *_ = line.split(' "')
    assert len(unquoted.split(" ")) == 4  # three of the request line, one of the header
    assert line.replace("\\\\", "").replace('\\"', "").count('"') == 4


def test_a_quoted_value_keeps_its_spaces(log):
    line = log(TextAccessLogger, log_format='"%(a)s"', HTTP_USER_AGENT="Mozilla/5.0 (X11)")

    assert line == '"Mozilla/5.0 (X11)"'


@pytest.mark.parametrize("kind", [TextAccessLogger, JsonAccessLogger])
@pytest.mark.parametrize("place", [*PLACES, "HTTP_REFERER", "HTTP_AUTHORIZATION"])
def test_a_key_is_masked_wherever_it_is(log, kind, place):
    log_format = (
        f"{ACCESS_LOG_FORMAT} %(f)s %({{referer}}i)s %({{authorization}}i)s "
        "%({http_authorization}e)s"
    )

    for found in (ACCESS_LOG_FORMAT, log_format):
        assert KEY not in log(kind, log_format=found, **{place: f"a{KEY}"})


@pytest.mark.parametrize(
    ("given", "logged"),
    [("order-7/try=1", "order-7/try=1"), ("a b", None), ("", None), ("x" * 201, None), ("é", None)],
)
def test_a_request_id_is_logged_as_accepted(log, given, logged):
    header = {"HTTP_X_REQUEST_ID": given}

    text = log(TextAccessLogger, log_format=ACCESS_LOG_FORMAT, **header)
    custom = log(TextAccessLogger, log_format="%({x-request-id}i)s", **header)

    assert f" request_id={logged or '-'} " in text
    assert custom == (logged or "-")
    assert json.loads(log(JsonAccessLogger, **header))["request_id"] == logged


@pytest.fixture
def logger(request, caplog):
    """A logger of the kind that the test is for."""
    cfg = Config()
    cfg.set("worker_class", OUR_WORKER)
    cfg.set("accesslog", "-")
    cfg.set("access_log_format", ACCESS_LOG_FORMAT)
    found = request.param(cfg)
    found.access_log.addHandler(caplog.handler)
    found.error_log.addHandler(caplog.handler)
    yield found
    found.access_log.removeHandler(caplog.handler)
    found.error_log.removeHandler(caplog.handler)


BOTH = pytest.mark.parametrize("logger", [TextAccessLogger, JsonAccessLogger], indirect=True)
ENVIRON = {
    "REMOTE_ADDR": "127.0.0.1",
    "REQUEST_METHOD": "POST",
    "RAW_URI": "/echo",
    "SERVER_PROTOCOL": "HTTP/1.1",
}
NOTHING_LOGGED = {
    "address": None, "client": None, "method": None, "target": None, "status": 400,
    "bytes": 0, "duration_ms": 0, **dict.fromkeys(set(FIELDS) - {"duration_ms"}),
}  # fmt: skip
NOTHING_IN_TEXT = "400 0 duration_ms=0 correlation_id=- request_id=- client=-"


@BOTH
@pytest.mark.parametrize("missing", [*ENVIRON, "all", "all, as None"])
@pytest.mark.parametrize("log_format", [ACCESS_LOG_FORMAT, "> " + ACCESS_LOG_FORMAT])
@pytest.mark.parametrize("request_seen", [None, SimpleNamespace(headers=[])])
def test_a_request_may_lack_anything(logger, caplog, missing, log_format, request_seen):
    logger.cfg.set("access_log_format", log_format)
    environ: dict[str, str | None] = {k: v for k, v in ENVIRON.items() if k != missing}
    if missing == "all":
        environ = {}
    elif missing == "all, as None":
        environ = dict.fromkeys(ENVIRON)
    response = SimpleNamespace(status="400 Bad Request", headers=[("Connection", "close")], sent=0)

    logger.access(response, request_seen, environ, timedelta(0))

    (line,) = caplog.messages
    text = not line.startswith("{")
    if missing.startswith("all"):
        expected = f'- "- - -" {NOTHING_IN_TEXT}'
        assert line.removeprefix("> ") == expected if text else True
        assert text or json.loads(line).items() >= NOTHING_LOGGED.items()
    elif text:
        assert line.removeprefix("> ").endswith(f'" {NOTHING_IN_TEXT}')
        assert len(line.removeprefix("> ").split(" ")) == 10


@BOTH
@pytest.mark.parametrize("log_format", [ACCESS_LOG_FORMAT, "> " + ACCESS_LOG_FORMAT])
@pytest.mark.parametrize(
    "response",
    [
        None,
        SimpleNamespace(status=None, headers=None, sent=None),
        SimpleNamespace(status="", headers=[], sent=0),
        SimpleNamespace(status="abc", headers={}, sent=0),
        SimpleNamespace(),
    ],
)
def test_a_response_may_lack_anything(logger, caplog, log_format, response):
    logger.cfg.set("access_log_format", log_format)

    logger.access(response, None, {}, timedelta(0))

    (line,) = caplog.messages
    assert '"- - -" - ' in line or json.loads(line)["status"] is None


@BOTH
def test_the_target_may_be_under_the_name_of_other_servers(logger, caplog):
    response = SimpleNamespace(status="200 OK", headers=[], sent=0)
    environ = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/echo?a=1"}

    logger.access(response, None, environ, timedelta(0))

    (line,) = caplog.messages
    assert '"GET /echo?a=1 -"' in line or json.loads(line)["target"] == "/echo?a=1"


@BOTH
def test_the_response_to_a_malformed_request_is_logged(logger, caplog):
    # As gunicorn's Worker.handle_error() makes it: without status_code.
    request = SimpleNamespace(headers=[])
    response = Response(request, None, logger.cfg)
    response.status = "400 Bad Request"
    environ = {"REQUEST_METHOD": None, "RAW_URI": None, "SERVER_PROTOCOL": "HTTP/1.1"}

    logger.access(response, request, environ, timedelta(0))

    (line,) = caplog.messages
    assert " 400 " in line or json.loads(line)["status"] == 400


@BOTH
def test_a_request_that_cannot_be_logged_is_an_error_in_the_log(logger, caplog):
    logger.access(SimpleNamespace(headers=7), None, {}, timedelta(0))

    assert caplog.messages == ["a request is missing in the access log"]


def error_line(kind, cfg, *message, **options):
    """Return what the error log of *kind* writes, once gunicorn has reloaded it."""
    logger = kind(cfg)
    logger.setup(cfg)
    (handler,) = [h for h in logger.error_log.handlers if getattr(h, "_gunicorn", False)]
    record = logging.LogRecord("gunicorn.error", 40, __file__, 0, *message, **options)
    return handler.format(record)


@pytest.fixture
def cfg():
    cfg = Config()
    cfg.set("worker_class", OUR_WORKER)
    return cfg


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x1bb", "a\x85b", "a\u2028b", "a\x7fb"])
def test_the_error_log_is_one_line_per_event(cfg, value):
    text = error_line(TextAccessLogger, cfg, "bad: %s " + KEY, (value,), None)
    event = error_line(JsonAccessLogger, cfg, "bad: %s " + KEY, (value,), None)

    assert text.isprintable()
    assert text.startswith("[")
    assert text.endswith("b rdv_***")
    assert event.isprintable()
    assert json.loads(event)["event"] == f"bad: {value} rdv_***"
    assert json.loads(event)["level"] == "error"


@pytest.mark.parametrize(
    "name", ["sync", "gthread", "gevent", "eventlet", "gunicorn.workers.gthread.ThreadWorker"]
)
def test_another_worker_class_is_refused_in_one_line(cfg, name):
    cfg.set("worker_class", name)

    with pytest.raises(SystemExit) as exited:
        TextAccessLogger(cfg)

    assert str(exited.value).startswith(f"worker_class={name} (gunicorn -k) is not supported: ")
    assert "\n" not in str(exited.value)


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def failed_request():
    """Return the environment of a request that failed, as the application leaves it."""
    return {
        "HTTP_X_REQUEST_ID": "order-7",
        "HTTP_X_FORWARDED_FOR": "203.0.113.7, 10.0.0.1",
        "HTTP_TRACEPARENT": TRACEPARENT,
        CLIENT_ENVIRON_KEY: "shop",
        ROUTE_ENVIRON_KEY: "/orders/<id>",
        TOPIC_ENVIRON_KEY: "orders",
        PROBLEM_ENVIRON_KEY: "reply-timeout",
        SENT_ENVIRON_KEY: Sent.YES,
    }


EXPECTED = {
    "correlation_id": "an.id",
    "request_id": "order-7",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "span_id": None,
    "client": "shop",
    "route": "/orders/<id>",
    "topic": "orders",
    "problem_type": "reply-timeout",
    "sent": "yes",
    "forwarded_for": "203.0.113.7, 10.0.0.1",
}


def test_json_has_each_field_of_a_failed_request(log):
    response = [("X-Correlation-ID", "an.id")]
    event = json.loads(log(JsonAccessLogger, headers=response, **failed_request()))

    assert {name: event[name] for name in EXPECTED} == EXPECTED
    assert set(FIELDS) == EXPECTED.keys() | {"duration_ms"}
    assert event["duration_ms"] == 1000


def test_text_has_each_field_of_a_failed_request_that_has_a_value(log):
    response = [("X-Correlation-ID", "an.id")]
    line = log(TextAccessLogger, log_format=ACCESS_LOG_FORMAT, headers=response, **failed_request())
    found = dict(part.split("=", 1) for part in line.rpartition('"')[2].split(" ") if "=" in part)

    expected = {name: value for name, value in EXPECTED.items() if value is not None}
    expected |= {"duration_ms": "1000", "forwarded_for": r"203.0.113.7,\x2010.0.0.1"}
    assert found == expected


def test_an_invalid_traceparent_is_no_trace_id(log):
    event = json.loads(log(JsonAccessLogger, HTTP_TRACEPARENT="00-" + "0" * 32 + "-1-01"))

    assert event["trace_id"] is None
