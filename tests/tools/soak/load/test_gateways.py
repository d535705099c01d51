"""Which gateway a client of the soak uses."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from tools.devstack.ports import free_port
from tools.soak.load.gateways import CheckedGateways, Gateways


def test_a_gateway_that_refused_a_connection_is_avoided():
    gateways = Gateways((1, 2))
    gateways.avoid(0)

    assert [gateways.choose(0), gateways.choose(1), gateways.choose(2)] == [1, 1, 1]


class Draining(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        pass


def test_a_client_leaves_a_gateway_that_is_not_ready_and_none_that_is_the_best():
    with HTTPServer(("127.0.0.1", 0), Draining) as draining:
        threading.Thread(target=draining.serve_forever, daemon=True).start()
        gateways = CheckedGateways((draining.server_port, free_port()))
        gateways.check()
        draining.shutdown()

    assert [gateways.leaves(0), gateways.leaves(1)] == [False, True]
    assert [gateways.choose(0), gateways.choose(1)] == [0, 0]
