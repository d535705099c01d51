"""
Correlation ids: who waits, until when, and that it was us who promised.

An id reads ``<node>.<deadline>.<random>.<mac>``. Because it says all of this itself and is signed,
whoever holds SECRET_KEY can tell a pending id from an expired, a forged or a foreign one without
looking anything up.
"""

import hmac
import re
import secrets
import time
from dataclasses import dataclass
from hashlib import sha256

from itsdangerous import Signer

from replies.errors import ForeignCorrelationId

MAX_ID_LENGTH = 128
_SHAPE = re.compile(r"[0-9a-f]{8}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", re.ASCII)


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

    def remaining_ms(self, retention_ms: int = 0) -> int:
        """Return the milliseconds until the deadline plus *retention_ms*; negative once past."""
        return self.deadline_ms + retention_ms - epoch_ms()


class CorrelationIds:
    """
    Issues and recognises correlation ids under one secret key.

    Args:
        secret_key: shared by every gateway and replies process of one deployment.
    """

    def __init__(self, secret_key: str) -> None:
        salt = b"rendezvous.correlation-id"
        key = Signer(secret_key, salt, key_derivation="hmac", digest_method=sha256).derive_key()
        # The derived key serves for good: Signer would derive it anew for each id.
        self._signer = Signer(key, salt, key_derivation="none", digest_method=sha256)

    def issue(self, node: str, deadline_ms: int) -> str:
        """Return a new id for a request that *node* waits for until *deadline_ms* (Unix time)."""
        return self._sign(f"{node}.{deadline_ms:013d}.{secrets.token_urlsafe(16)}")

    def read(self, text: str) -> CorrelationId:
        """
        Return the meaning of *text*.

        Raises:
            ForeignCorrelationId: when it was not issued under this secret key, or was altered.
        """
        # The shape comes first: it bounds what is hashed, whatever a stranger sends.
        if len(text) > MAX_ID_LENGTH or not _SHAPE.fullmatch(text):
            raise ForeignCorrelationId("not the shape of a correlation id")
        signed = text.rpartition(".")[0]
        # Compared as text: base64 has several spellings of the same bytes, and only the one
        # that was issued is a key in Redis.
        if not hmac.compare_digest(self._sign(signed), text):
            raise ForeignCorrelationId("its signature does not match SECRET_KEY")
        node, deadline, _ = signed.split(".")
        return CorrelationId(text, node, int(deadline))

    def _sign(self, signed: str) -> str:
        return self._signer.sign(signed).decode("ascii")
