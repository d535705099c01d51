"""An issuer of JSON Web Tokens, with an HTTP server for its keys."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tools.devstack.ports import LOOPBACK

NAME, AUDIENCE = "https://issuer.example/", "https://gateway.example"


def part(content: Any) -> str:
    """Return *content* as one part of a token."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


class TokenIssuer:
    """
    Signs tokens, and publishes the keys of ``published``.

    ``status`` and ``body`` replace the response; ``requests`` counts; while ``hangs`` is set, the
    server does not respond.
    """

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.published: list[dict[str, Any]] = []
        self.status, self.body = 200, b""
        self.headers: list[tuple[str, str]] = []
        self.requests = 0
        self.proceed = threading.Event()
        self.proceed.set()
        self.url = ""
        self.add_key("1")

    def add_key(self, key_id: str, *, published: bool = True, kind: str = "EC") -> None:
        """Make a key; publish it unless told otherwise."""
        if kind == "EC":
            private: Any = ec.generate_private_key(ec.SECP256R1())
            found = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        else:
            private = rsa.generate_private_key(65_537, 2_048)
            found = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        self.keys[key_id] = private
        if published:
            self.published.append(dict(found) | {"kid": key_id, "use": "sig"})

    def replace_key(self, key_id: str) -> None:
        """Rotate: publish a new key only."""
        self.published.clear()
        self.add_key(key_id)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid token, with *changes*; None removes one."""
        now_s = int(time.time())
        found = {"iss": NAME, "aud": AUDIENCE, "sub": "alice", "iat": now_s, "exp": now_s + 60}
        return {name: value for name, value in (found | changes).items() if value is not None}

    def token(
        self,
        key_id: str = "1",
        *,
        headers: dict[str, Any] | None = None,
        algorithm: str = "ES256",
        key: Any = None,
        **changes: Any,
    ) -> str:
        """Return a token, signed with the key *key_id* unless another *key* is given."""
        named = {"kid": key_id} | (headers or {})
        named = {name: value for name, value in named.items() if value is not None}
        claims = self.claims(**changes)
        return jwt.encode(claims, key or self.keys[key_id], algorithm, headers=named)

    @contextmanager
    def serving(self, port: int = 0) -> Iterator["TokenIssuer"]:
        """Serve the keys at ``url`` until the end of the block."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                issuer.proceed.wait(10)
                content = issuer.body or json.dumps({"keys": issuer.published}).encode()
                self.send_response(issuer.status)
                for name, value in issuer.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.url = f"http://{LOOPBACK}:{server.server_port}/keys"
        try:
            yield self
        finally:
            self.proceed.set()
            server.shutdown()
            thread.join()
            server.server_close()
