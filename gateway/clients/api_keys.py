"""
API keys: how they are made, how they are kept, and whose they are.

Only hashes are kept. They are plain SHA-256 and not slow ones, because a key is no password: it is
256 random bits, of which nobody tries out enough to matter, however fast each attempt is.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence

from gateway.clients.client import Client

#: What every key begins with, so that people and secret scanners recognise one.
KEY_PREFIX = "rdv_"
KEY_BYTES = 32
HASH_PREFIX = "sha256:"
#: A key, wherever it stands; used to keep it out of logs.
KEY_PATTERN = re.compile(KEY_PREFIX + r"[A-Za-z0-9_-]{16,}")


def new_key() -> str:
    """Return a key that nobody has."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def hash_of(key: str) -> str:
    """Return what is kept of *key*, which is ASCII."""
    return HASH_PREFIX + hashlib.sha256(key.encode("ascii")).hexdigest()


class ApiKeys:
    """
    Whose key is which.

    Args:
        hashes: what hash_of() says of each key, with whose it is.
    """

    def __init__(self, hashes: Sequence[tuple[str, Client]]) -> None:
        self._hashes = [(kept.encode("ascii"), client) for kept, client in hashes]

    def client_of(self, key: str) -> Client | None:
        """Return whose *key*, which is ASCII, is; how long it takes does not depend on it."""
        given = hash_of(key).encode("ascii")
        owner = None
        for kept, client in self._hashes:
            # To the end, whoever it was: so nobody learns from the time where in the list it is.
            if hmac.compare_digest(kept, given):
                owner = client
        return owner
