"""
Correlation ids: signed, and readable without a look-up.

An id is ``<node>.<deadline>.<random>.<mac>``. With SECRET_KEY a pending id can be distinguished
from an expired, a forged or a foreign one without a query. After the deadline an id can contain how
long the reply is kept, and after the random part a tag of its owner, which only the key verifies.
"""

import hmac
import os
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256

from itsdangerous import Signer

from rendezvous.contract import GATEWAY_ID
from rendezvous.errors import ForeignCorrelationId

MAX_ID_LENGTH = 128
#: Maximum retention in an id, in seconds: seven digits.
MAX_KEEP_S = 9_999_999
#: Length of the random text in the third part of an id; the rest is the tag of the owner.
_NONCE_LENGTH = 22
#: Size of the tag of an owner: 64 bits are enough, since the signature covers the tag.
_OWNER_BYTES = 8
#: Size of the random part, and how many of them are drawn at once.
NONCE_BYTES = 16
NONCES_DRAWN = 64
#: The last letter of the random text has two random bits, and four that are 0; in the id of a
#: request to which several values may come, of which the last one counts, they are 1.
_STREAM_ENDS = dict(zip("AQgw", "BRhx", strict=True))
_STREAM_LETTERS = frozenset(_STREAM_ENDS.values())


def epoch_ms() -> int:
    """Return the wall clock as Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def new_node() -> str:
    """Return a name for one gateway process: eight random hexadecimal digits."""
    return secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class CorrelationId:
    """A correlation id whose signature has been checked."""

    text: str
    node: str
    deadline_ms: int  # Unix time in ms, by the clock of the node
    keep_ms: int = 0  # minimum retention of the reply after the deadline
    is_stream: bool = False  # whether the last of several values is the reply

    def remaining_ms(self, retention_ms: int = 0) -> int:
        """
        Return the ms until its reply expires; negative afterwards.

        It expires *retention_ms* after the deadline, or later if the id asks for more.
        """
        return self.deadline_ms + max(retention_ms, self.keep_ms) - epoch_ms()


def is_stream_id(text: str) -> bool:
    """Return whether the last of several values is the reply to this id."""
    nonce = text.split(".")[2:3]
    return bool(nonce) and nonce[0][_NONCE_LENGTH - 1 : _NONCE_LENGTH] in _STREAM_LETTERS


class CorrelationIds:
    """
    Issues and reads correlation ids. Safe to use from several threads.

    Args:
        secret_key: signs new ids; shared by every gateway and replies process of one deployment.
        other_secret_key: its ids are accepted too, while SECRET_KEY is being replaced.
    """

    def __init__(self, secret_key: str, other_secret_key: str = "") -> None:
        accepted = dict.fromkeys((secret_key, other_secret_key or secret_key))
        self._keys = tuple(map(SigningKey, accepted))
        self._signing = self._keys[0]
        self._nonces: list[str] = []
        # After a fork the child must not issue the same ids as the parent.
        os.register_at_fork(after_in_child=self._nonces.clear)
        #: Fingerprints of the accepted keys; the key cannot be computed from one.
        self.fingerprints = tuple(key.fingerprint for key in self._keys)
        #: That of the signing key: distinguishes deployments that share a Redis.
        self.deployment = self.fingerprints[0]

    def issue(
        self,
        node: str,
        deadline_ms: int,
        *,
        owner: str = "",
        keep_s: int = 0,
        is_stream: bool = False,
    ) -> str:
        """
        Return a new id; *node* waits for its reply until *deadline_ms* (Unix time).

        Args:
            owner: the only client that can fetch its reply; empty for clients without a name.
            keep_s: minimum retention of the reply after the deadline, in seconds; REPLY_RETENTION_S
                applies if it is longer.
            is_stream: whether the last of several values is the reply.

        Raises:
            ValueError: when *keep_s* is out of range.
        """
        if not 0 <= keep_s <= MAX_KEEP_S:
            raise ValueError(f"keep_s={keep_s} is not from 0 to {MAX_KEEP_S}")
        deadline = f"{deadline_ms:013d}-{keep_s}" if keep_s else f"{deadline_ms:013d}"
        nonce = self._nonce()
        if is_stream:
            nonce = nonce[:-1] + _STREAM_ENDS[nonce[-1]]
        key = self._signing
        return key.sign(f"{node}.{deadline}.{nonce}{key.owner_tag(nonce, owner)}")

    def read(self, text: str) -> CorrelationId:
        """
        Return the id in *text*, with its signature checked.

        Raises:
            ForeignCorrelationId: when it was not issued under an accepted key, or was altered.
        """
        _check_format(text)
        for key in self._keys:
            if key.is_signed(text):
                return _parsed(text)
        raise ForeignCorrelationId("its signature does not match SECRET_KEY")

    def read_for(self, text: str, *owners: str) -> CorrelationId:
        """
        Return the id in *text*, requested by one of *owners*.

        Raises:
            ForeignCorrelationId: when it was not issued, or not for any of them. Neither the error
                nor the work done discloses which.
        """
        _check_format(text)
        # All of them, since an early end would disclose what failed.
        checks = [
            (key.is_signed(text), any([key.is_tagged(text, owner) for owner in owners]))  # noqa: C419
            for key in self._keys
        ]
        if (True, True) not in checks:
            raise ForeignCorrelationId("it was not issued, or not for this client")
        return _parsed(text)

    def _nonce(self) -> str:
        """Return 128 random bits as text."""
        try:
            return self._nonces.pop()
        except IndexError:
            # Many at once: the system call releases the GIL and takes longer than the rest of this.
            drawn = secrets.token_bytes(NONCE_BYTES * NONCES_DRAWN)
            nonces = [
                _base64(drawn[at : at + NONCE_BYTES]) for at in range(0, len(drawn), NONCE_BYTES)
            ]
            nonce = nonces.pop()
            self._nonces.extend(nonces)
            return nonce


class SigningKey:
    """What is derived from one secret key."""

    def __init__(self, secret_key: str) -> None:
        salt = b"rendezvous.correlation-id"
        key = Signer(secret_key, salt, key_derivation="hmac", digest_method=sha256).derive_key()
        self._mac = _Mac(key)
        self._owner_mac = _Mac(hmac.digest(key, b"rendezvous.owner", "sha256"))
        # Allows testing guesses of the key as each signed id does, and no faster; therefore
        # settings.py refuses keys that can be guessed.
        self.fingerprint = hmac.digest(key, b"rendezvous.deployment", "sha256")[:8].hex()

    def sign(self, signed: str) -> str:
        return f"{signed}.{_base64(self._mac.of(signed))}"

    def is_signed(self, text: str) -> bool:
        # Compared as text: several base64 texts decode to the same bytes, and only the issued one
        # is a key in Redis.
        return hmac.compare_digest(self.sign(text.rpartition(".")[0]), text)

    def is_tagged(self, text: str, owner: str) -> bool:
        third = text.split(".")[2]
        nonce, tag = third[:_NONCE_LENGTH], third[_NONCE_LENGTH:]
        return hmac.compare_digest(tag, self.owner_tag(nonce, owner))

    def owner_tag(self, nonce: str, owner: str) -> str:
        if not owner:
            return ""
        return _base64(self._owner_mac.of(f"{nonce}{owner}")[:_OWNER_BYTES])


class _Mac:
    """
    HMAC-SHA256 (RFC 2104) with a *key* of 32 bytes, from prepared states by two short hashes.

    The hmac module repeats the set-up for each text and releases the GIL; waiting for it takes
    longer than the rest.
    """

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(sha256().block_size, b"\0")
        self._inner = sha256(bytes(b ^ 0x36 for b in padded))
        self._outer = sha256(bytes(b ^ 0x5C for b in padded))

    def of(self, text: str) -> bytes:
        """Return the MAC of *text*."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.digest()


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _check_format(text: str) -> None:
    # First of all: it limits the size of what is hashed.
    if len(text) > MAX_ID_LENGTH or not GATEWAY_ID.fullmatch(text):
        raise ForeignCorrelationId("it does not have the format of a correlation id")


def _parsed(text: str) -> CorrelationId:
    node, deadline, nonce, _ = text.split(".")
    deadline_ms, _, keep_s = deadline.partition("-")
    is_stream = nonce[_NONCE_LENGTH - 1] in _STREAM_LETTERS
    return CorrelationId(text, node, int(deadline_ms), int(keep_s or 0) * 1000, is_stream)
