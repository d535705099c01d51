"""
Correlation ids: who waits, until when, and that it was us who promised.

An id reads ``<node>.<deadline>.<random>.<mac>``. Because it says all of this itself and is signed,
whoever holds SECRET_KEY can tell a pending id from an expired, a forged or a foreign one without
looking anything up. Behind the deadline it may say besides how long the reply is kept, and behind
the random part whose id it is, in a way that only the holder of the key can read.
"""

import hmac
import os
import re
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from itsdangerous import Signer

from rendezvous.errors import ForeignCorrelationId

MAX_ID_LENGTH = 128
#: As many digits as an id has room for.
MAX_KEEP_S = 9_999_999
_SHAPE = re.compile(
    r"[0-9a-f]{8}\.[0-9]{13}(?:-[0-9]{1,7})?\.[A-Za-z0-9_-]{22}(?:[A-Za-z0-9_-]{11})?"
    r"\.[A-Za-z0-9_-]{43}",
    re.ASCII,
)
#: How much of an id's third part is random, in characters; the rest tells the owner.
_NONCE_LENGTH = 22
#: 64 bits: nobody can try them out, since the whole is signed.
_OWNER_BYTES = 8
NONCE_BYTES = 16
#: How many are drawn at once.
NONCES_DRAWN = 64


def epoch_ms() -> int:
    """Return the wall clock as Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def new_node() -> str:
    """Return a name for one waiting process: eight random hexadecimal digits."""
    return secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class CorrelationId:
    """A correlation id whose signature has been checked."""

    text: str
    node: str
    deadline_ms: int  # Unix time in milliseconds, by the clock of the node that issued it
    keep_ms: int = 0  # how long after the deadline the reply is kept at least

    def remaining_ms(self, retention_ms: int = 0) -> int:
        """
        Return the milliseconds until nobody can want its reply; negative once past.

        That is the deadline plus *retention_ms*, or plus what the id itself asks for if it is more.
        """
        return self.deadline_ms + max(retention_ms, self.keep_ms) - epoch_ms()


class CorrelationIds:
    """
    Issues and recognises correlation ids under one secret key.

    Args:
        secret_key: shared by every gateway and replies process of one deployment.
    """

    def __init__(self, secret_key: str) -> None:
        salt = b"rendezvous.correlation-id"
        key = Signer(secret_key, salt, key_derivation="hmac", digest_method=sha256).derive_key()
        self._inner, self._outer = _hmac_states(key)
        self._nonces: list[str] = []
        # Of a process that forks, the child must not issue what the parent will.
        os.register_at_fork(after_in_child=self._nonces.clear)
        self._owner_key = hmac.digest(key, b"rendezvous.owner", "sha256")
        #: Tells this deployment from others that use the same Redis, without telling its key.
        self.deployment = hmac.digest(key, b"rendezvous.deployment", "sha256")[:8].hex()

    def issue(self, node: str, deadline_ms: int, *, owner: str = "", keep_s: int = 0) -> str:
        """
        Return a new id for a request that *node* waits for until *deadline_ms* (Unix time).

        Args:
            owner: who alone may ask for its reply; nobody in particular if empty.
            keep_s: how long after the deadline the reply is kept, in seconds; with 0, or less
                than REPLY_RETENTION_S, it is that long.

        Raises:
            ValueError: when no id can say *keep_s*.
        """
        if not 0 <= keep_s <= MAX_KEEP_S:
            raise ValueError(f"keep_s={keep_s} is not from 0 to {MAX_KEEP_S}")
        deadline = f"{deadline_ms:013d}-{keep_s}" if keep_s else f"{deadline_ms:013d}"
        nonce = self._nonce()
        return self._sign(f"{node}.{deadline}.{nonce}{self._owner_tag(nonce, owner)}")

    def read(self, text: str) -> CorrelationId:
        """
        Return the meaning of *text*.

        Raises:
            ForeignCorrelationId: when it was not issued under this secret key, or was altered.
        """
        _check_shape(text)
        if not self._is_signed(text):
            raise ForeignCorrelationId("its signature does not match SECRET_KEY")
        return _meaning(text)

    def read_for(self, owner: str, text: str) -> CorrelationId:
        """
        Return the meaning of *text*, which *owner* asks for.

        Raises:
            ForeignCorrelationId: when it was not issued, or not for *owner*. Which of the two
                shows neither in the error nor in the work done.
        """
        _check_shape(text)
        is_signed, is_tagged = self._is_signed(text), self._is_tagged(text, owner)
        if not (is_signed and is_tagged):
            raise ForeignCorrelationId("it was not issued, or not for this client")
        return _meaning(text)

    def _is_signed(self, text: str) -> bool:
        # Compared as text: base64 has several spellings of the same bytes, and only the one
        # that was issued is a key in Redis.
        return hmac.compare_digest(self._sign(text.rpartition(".")[0]), text)

    def _is_tagged(self, text: str, owner: str) -> bool:
        third = text.split(".")[2]
        nonce, tag = third[:_NONCE_LENGTH], third[_NONCE_LENGTH:]
        return hmac.compare_digest(tag, self._owner_tag(nonce, owner))

    def _owner_tag(self, nonce: str, owner: str) -> str:
        if not owner:
            return ""
        tag = hmac.digest(self._owner_key, f"{nonce}{owner}".encode(), "sha256")[:_OWNER_BYTES]
        return _base64(tag)

    def _nonce(self) -> str:
        """Return 128 random bits as text."""
        try:
            return self._nonces.pop()
        except IndexError:
            # Many at once: asking the system lets other threads in, and takes longer than all else.
            drawn = secrets.token_bytes(NONCE_BYTES * NONCES_DRAWN)
            found = [
                _base64(drawn[at : at + NONCE_BYTES]) for at in range(0, len(drawn), NONCE_BYTES)
            ]
            nonce = found.pop()
            self._nonces.extend(found)
            return nonce

    def _sign(self, signed: str) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(signed.encode())
        outer.update(inner.digest())
        return f"{signed}.{_base64(outer.digest())}"


def _hmac_states(key: bytes) -> tuple[Any, Any]:
    """
    Return the states of HMAC-SHA256 (RFC 2104) under *key* of 32 bytes before any message.

    The id is then signed by two short hashes. The library's own hmac, each time, sets up as much
    again and lets other threads in, for which a request waits longer than for its signature.
    """
    padded = key.ljust(sha256().block_size, b"\0")
    return sha256(bytes(b ^ 0x36 for b in padded)), sha256(bytes(b ^ 0x5C for b in padded))


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _check_shape(text: str) -> None:
    # Before all else: it bounds what is hashed, whatever a stranger sends.
    if len(text) > MAX_ID_LENGTH or not _SHAPE.fullmatch(text):
        raise ForeignCorrelationId("not the shape of a correlation id")


def _meaning(text: str) -> CorrelationId:
    node, deadline, _, _ = text.split(".")
    deadline_ms, _, keep_s = deadline.partition("-")
    return CorrelationId(text, node, int(deadline_ms), int(keep_s or 0) * 1000)
