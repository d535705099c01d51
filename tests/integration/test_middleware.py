"""The application may be wrapped in WSGI middleware; the server still starts and drains it."""

import signal

import pytest

from tests.integration.standin import post, read_to_end, send, standin
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

READYZ = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("options", ["", "--preload"])
def test_a_wrapped_application_serves_and_drains(tmp_path, options):
    env = {"DRAIN_DELAY_S": "3", "WEB_CONCURRENCY": "1"}
    with standin(tmp_path, options, module="tests.integration.wrapped_app", **env) as server:
        with server.connect() as connection:
            connection.sendall(post("/echo", b"tea"))
            response = read_to_end(connection)
        server.signal_master(signal.SIGTERM)
        # The server finds the lifecycle, although middleware hides the application.
        assert wait_until(lambda: send(server, READYZ) == "503", 2.5)
        exit_code = server.child.wait(30)

    assert response.startswith(b"HTTP/1.1 200 ")
    assert response.endswith(b"\r\n\r\ntea")
    assert b"\r\nX-Middleware: yes\r\n" in response
    assert exit_code == 0
