"""gunicorn's settings and the application of the server behind haproxy: it returns each request."""

from collections.abc import Callable, Iterable
from typing import Any

worker_class = "gateway.server.worker.GatewayWorker"
wsgi_app = "tests.framing.echo_server:echo"
workers = 1
threads = 4
worker_connections = 300
keepalive = 60
control_socket_disable = True


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with method, target and body of the request."""
    line = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} "
    body = line.encode("latin-1") + environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
