"""
API keys: making, hashing and recognizing them.

Only hashes are stored: plain SHA-256, because a key is 256 random bits and not a password that
could be guessed, however fast each attempt is.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from gateway.clients.client import Client
from rendezvous.process.log_text import KEY_PREFIX

KEY_BYTES = 32
HASH_PREFIX = "sha256:"


def new_key() -> str:
    """Return a new random key."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def hash_of(key: str) -> str:
    """Return the hash of *key*, which is ASCII, as it is stored."""
    return HASH_PREFIX + hashlib.sha256(key.encode("ascii")).hexdigest()


class ApiKeys:
    """
    The clients by their API keys.

    Args:
        hashes: hash_of() each key, and its client.
    """

    def __init__(self, hashes: Sequence[tuple[str, Client]]) -> None:
        self._hashes = [(stored.encode("ascii"), client) for stored, client in hashes]

    def client_of(self, key: str) -> Client | None:
        """Return the client of *key*, an ASCII text, in constant time."""
        given = hash_of(key).encode("ascii")
        found = None
        for stored, client in self._hashes:
            # No early exit: the time must not reveal the key's position in the list.
            if hmac.compare_digest(stored, given):
                found = client
        return found
