"""An OAuth token endpoint that answers as a test says."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tools.devstack.ports import LOOPBACK

#: Returns the status and the body of a response, given the Authorization of its request.
Answer = Callable[[str], tuple[int, bytes]]


@contextmanager
def token_endpoint(
    answer: Answer, headers: Sequence[tuple[str, str]] = ()
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the URL of the endpoint, and a list of its requests: Authorization and body."""
    requests: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append((self.headers["Authorization"], body))
            status, content = answer(self.headers["Authorization"])
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/token", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def basic(client_id: str, secret: str) -> str:
    """Return the Authorization of a client."""
    return f"Basic {base64.b64encode(f'{client_id}:{secret}'.encode()).decode()}"


def tokens_for(client_id: str, secret: str, lifetime_s: int) -> Answer:
    """Return an answer with unsigned tokens for this client, and with 401 for others."""

    def answer(authorization: str) -> tuple[int, bytes]:
        if authorization != basic(client_id, secret):
            return 401, b'{"error": "invalid_client"}'
        now_s = time.time()
        claims = {"sub": client_id, "iat": now_s, "exp": now_s + lifetime_s, "scope": "kafka"}
        token = f"{_part({'alg': 'none'})}.{_part(claims)}."
        return 200, json.dumps({"access_token": token, "expires_in": lifetime_s}).encode()

    return answer


def _part(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
