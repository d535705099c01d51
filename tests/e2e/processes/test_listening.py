"""Where the gateway listens, the address of a client in its log, and what it does not tell."""

import http.client
import socket

import pytest

from tests.support.deployment import Deploy, Gateway
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]


def status_of_livez(gateway: Gateway, host: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(host, gateway.port, timeout=5)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("GET", "/livez", headers=named)
        return connection.getresponse().status
    finally:
        connection.close()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_clients_of_both_versions_of_ip_are_served_and_logged_with_their_own_address(
    deploy: Deploy,
):
    with deploy(env={"WEB_CONCURRENCY": "1"}) as deployment:
        gateway = deployment.gateway
        statuses = [status_of_livez(gateway, host) for host in ("127.0.0.1", "::1")]
        status_of_livez(gateway, "127.0.0.1", X_Forwarded_For="203.0.113.9")

        def is_logged(address: str) -> bool:
            return f'{address} "GET /livez' in gateway.logged()

        logged = ("127.0.0.1", "::1", "203.0.113.9")
        wait_until(lambda: all(map(is_logged, logged)), 5)

    assert statuses == [200, 200]
    assert [address for address in logged if not is_logged(address)] == []
    assert "::ffff:" not in gateway.logged()


def test_no_response_names_the_server_and_its_version(deploy: Deploy):
    with deploy(env={"WEB_CONCURRENCY": "1"}) as deployment:
        gateway = deployment.gateway
        requests = [("POST", "/echo"), ("GET", "/livez"), ("GET", "/nothing"), ("G=T", "/")]
        responses = [gateway.request(*one) for one in requests]

    assert [response.status for response in responses] == [200, 200, 404, 400]
    for response in responses:
        assert {"Server", "X-Powered-By"}.isdisjoint(response.headers)
