"""X-Forwarded-* headers: honoured only from proxies that are named."""

import pytest
from gunicorn.config import Config
from werkzeug.test import Client

from gateway.server.http.forwarded import trust_named_proxies
from tests.unit.apps import new_app
from tests.unit.conftest import ECHO

FORWARDED = {
    "REMOTE_ADDR": "10.0.0.1",
    "HTTP_X_FORWARDED_FOR": "192.0.2.7",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "gateway.example",
    "HTTP_X_FORWARDED_PREFIX": "/v1",
}
NOTHING = ("10.0.0.1", "http", "internal", "")
ADDRESS_AND_SCHEME = ("192.0.2.7", "https", "internal", "")
EVERYTHING = ("192.0.2.7", "https", "gateway.example", "/v1")


def seen(allowed, headers):
    """Return what the application sees: client, scheme, host, prefix."""
    found = []

    def application(environ, start_response):
        names = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SCRIPT_NAME")
        found.append(tuple(environ[name] for name in names))
        return []

    cfg = Config()
    cfg.set("forwarded_allow_ips", allowed)
    environ = {"wsgi.url_scheme": "http", "HTTP_HOST": "internal", "SCRIPT_NAME": ""}
    trust_named_proxies(application, cfg)(environ | FORWARDED | headers, None)
    return found[0]


@pytest.mark.parametrize(
    ("allowed", "peer", "expected"),
    [
        ("10.0.0.1", "10.0.0.1", EVERYTHING),
        ("192.0.2.0/24, 10.0.0.0/8", "10.0.0.1", EVERYTHING),
        ("fd00::/8", "fd00::1", EVERYTHING),
        ("*, 10.0.0.1", "10.0.0.1", EVERYTHING),
        # Dual-stack sockets have IPv4 clients under such addresses.
        ("10.0.0.1", "::ffff:10.0.0.1", EVERYTHING),
        ("*", "10.0.0.1", ADDRESS_AND_SCHEME),
        ("*, 10.0.0.2", "10.0.0.1", ADDRESS_AND_SCHEME),
        ("10.0.0.2", "10.0.0.1", NOTHING),
        ("fd00::/8", "10.0.0.1", NOTHING),
        ("", "10.0.0.1", NOTHING),
        # A Unix domain socket: only a local proxy can connect.
        ("10.0.0.2", "localhost", EVERYTHING),
    ],
)
def test_only_a_named_proxy_says_what_host_and_prefix_are(allowed, peer, expected):
    found = seen(allowed, {"REMOTE_ADDR": peer})

    assert found == expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("/v1/", "/v1"),
        ("/client, /v1", "/v1"),  # a proxy adds its own to the client's
        ("client, /v1", "/v1"),
        ("/v1, client", ""),
        ("v1", ""),
        ("//evil.example", ""),  # a URL that begins with it names a host
        ("https://evil.example", ""),
        ("", ""),
    ],
)
def test_only_a_prefix_that_is_a_path_is_honoured(prefix, expected):
    assert seen("10.0.0.1", {"HTTP_X_FORWARDED_PREFIX": prefix})[3] == expected


@pytest.mark.parametrize(("allowed", "prefix"), [("10.0.0.1", "/v1"), ("*", ""), ("10.0.0.2", "")])
def test_the_location_of_a_202_has_the_prefix_of_a_named_proxy(
    poller, publisher, redis, allowed, prefix
):
    app = new_app(ECHO, poller, publisher, redis)
    cfg = Config()
    cfg.set("forwarded_allow_ips", allowed)
    response = Client(trust_named_proxies(app, cfg)).post(
        "/echo", headers={"Prefer": "respond-async"}, environ_overrides=FORWARDED
    )

    assert response.status_code == 202
    assert response.headers["Location"].startswith(f"{prefix}/replies/")
    assert response.get_json()["status_url"] == response.headers["Location"]


@pytest.mark.parametrize("name", [b"SCRIPT_NAME", b"Script-Name"])
def test_script_name_is_no_header(new_running, name):
    def script_name(environ, start_response):
        start_response("200 OK", [])
        return [repr(environ["SCRIPT_NAME"]).encode()]

    running = new_running(wsgi=script_name, forwarded_allow_ips="*, 127.0.0.1")
    response = running.response_to(b"GET / HTTP/1.0\r\n%b: /orders\r\n\r\n" % name)

    assert response.endswith(b"\r\n\r\n''")
