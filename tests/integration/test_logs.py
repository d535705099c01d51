"""Logs of a real gunicorn: no client forges a line, and JSON is JSON; other workers are refused."""

import json
import os
import time
from pathlib import Path

import pytest

from rendezvous import __version__
from tests.integration.standin import ENVIRONMENT, post, send, standin
from tools.devstack.ports import free_port
from tools.devstack.process.procfile import start_process
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

KEY = "rdv_" + "k" * 43
#: Bytes in a header value that begin a line, a field, or the end of a quoted text for a log reader.
FORGED = (b'a" client=forged', b"a\tb", b"a\x85forged", b"a\x9b2Kforged", b"a client=forged")
REFUSE_LIMIT_S = 5.0


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_header_or_path_forges_a_log_line(tmp_path: Path, log_format: str):
    with standin(tmp_path, LOG_FORMAT=log_format, WEB_CONCURRENCY="1") as server:
        for value in FORGED:
            request = post("/echo", b"x", "X-Request-ID: VALUE").replace(b"VALUE", value)
            send(server, request)
            send(server, request.replace(b"/echo", b"/" + value.replace(b" ", b"%20")))
        assert send(server, post(f"/echo?key={KEY}", b"x", "X-Request-ID: order-7")) == "200"
        send(server, b"GARBAGE\x85\r\n\r\n")
        assert wait_until(lambda: "order-7" in server.logged(), 5), server.logged()
        server.child.terminate()
        assert server.child.wait(20) == 0
        lines = server.logged().splitlines()

    assert all(line.isprintable() for line in lines)
    assert f"version {__version__}, Python 3." in server.logged()
    assert KEY not in "".join(lines)
    if log_format == "json":
        events = [json.loads(line) for line in lines]
        accepted = {event["request_id"] for event in events if event["event"] == "access"}
        assert accepted <= {None, "order-7"}
    else:
        accesses = [line for line in lines if " client=" in line]
        assert accesses
        assert {line.rpartition(" client=")[2].split(" ")[0] for line in accesses} == {"-"}
        assert {line.split(" request_id=")[1].split(" ")[0] for line in accesses} == {
            "-",
            "order-7",
        }


@pytest.mark.parametrize("name", ["gthread", "sync", "gevent", "eventlet"])
def test_other_workers_of_gunicorn_are_refused(tmp_path: Path, name: str):
    log = tmp_path / "log"
    options = {"GUNICORN_CMD_ARGS": f"-k {name}", "PORT": str(free_port())}
    began_s = time.monotonic()
    child = start_process("gunicorn wsgi:app", {**os.environ, **ENVIRONMENT, **options}, log)
    try:
        assert child.wait(REFUSE_LIMIT_S) not in (0, None)
    finally:
        child.stop(10)

    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert line.startswith(f"worker_class={name} (gunicorn -k) is not supported: ")
    assert time.monotonic() - began_s < REFUSE_LIMIT_S
