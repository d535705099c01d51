"""The access log names the client, contains no API key, and never raises."""

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http.wsgi import Response

from gateway.clients.api_keys import new_key
from gateway.clients.client import CLIENT_ENVIRON_KEY
from gateway.server.access_log import ACCESS_LOG_FORMAT, JsonAccessLogger, TextAccessLogger

KEY = new_key()
FORMAT = f'%(h)s "%(r)s" %(s)s client=%({{{CLIENT_ENVIRON_KEY}}}e)s'


@pytest.fixture
def log(monkeypatch):
    """Return the line that one request adds to the access log."""

    def line(kind, target="/echo", log_format=FORMAT, headers=(), **environ):
        cfg = Config()
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
    assert (
        json.loads(log(JsonAccessLogger, **{CLIENT_ENVIRON_KEY: "shop"}))["client_name"] == "shop"
    )
    assert json.loads(log(JsonAccessLogger))["client_name"] is None


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
        {"HTTP_X_REQUEST_ID": 'a "quoted" one', CLIENT_ENVIRON_KEY: 'sh"op'},
        {"target": f'/echo?a="&key={KEY}'},
    ],
)
def test_our_format_is_written_as_gunicorn_does(log, more):
    line = log(TextAccessLogger, log_format=ACCESS_LOG_FORMAT, **more)

    assert "> " + line == log(TextAccessLogger, log_format="> " + ACCESS_LOG_FORMAT, **more)


@pytest.fixture
def logger(request, caplog):
    """A logger of the kind that the test is for."""
    cfg = Config()
    cfg.set("accesslog", "-")
    cfg.set("access_log_format", ACCESS_LOG_FORMAT)
    found = request.param(cfg)
    found.access_log.addHandler(caplog.handler)
    found.error_log.addHandler(caplog.handler)
    yield found
    found.access_log.removeHandler(caplog.handler)
    found.error_log.removeHandler(caplog.handler)


BOTH = pytest.mark.parametrize("logger", [TextAccessLogger, JsonAccessLogger], indirect=True)


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
    logger.access(None, None, {}, timedelta(0))

    assert caplog.messages == ["a request is missing in the access log"]
