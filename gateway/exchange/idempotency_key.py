"""
One effect for one key: what Idempotency-Key means (draft-ietf-httpapi-idempotency-key-header-07).

A client that repeats a request under the same key gets the reply to the first, whether it has come
already or not. Here are the rules; who goes first is decided in gateway/exchange/idempotency.py.
"""

import re
from collections.abc import Sequence
from hashlib import sha256

from gateway.problems import IdempotencyKeyInvalid, IdempotencyKeyMissing, Sent
from rendezvous.contract import Request

KEY_HEADER = "Idempotency-Key"
#: "true" where the answer is the reply to an earlier request with the same key.
REPLAYED_HEADER = "Idempotent-Replayed"
MAX_KEY_LENGTH = 255

#: As the draft has it, and as most clients send it. A comma without quotes may be the seam of two
#: headers.
_QUOTED = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])*)"', re.ASCII)
_BARE = re.compile(r"[!#-+\--~]*", re.ASCII)
_ESCAPED = re.compile(r'\\(["\\])')


def key_of(lines: Sequence[str], *, required: bool) -> str | None:
    """
    Return the key in the Idempotency-Key header *lines* of one request; None when there is none.

    Raises:
        IdempotencyKeyInvalid: when it is not 1 to 255 visible ASCII characters, in quotes or bare.
        IdempotencyKeyMissing: when there is none and it is *required*.
    """
    if not lines:
        if required:
            raise IdempotencyKeyMissing(
                f"this route takes no request without an {KEY_HEADER}: send a random one, and the "
                "same one again when you repeat the request",
                sent=Sent.NO,
            )
        return None
    key = _read(lines[0].strip()) if len(lines) == 1 else ""
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise IdempotencyKeyInvalid(
            f"the {KEY_HEADER} is wrong: expected one header of 1 to {MAX_KEY_LENGTH} visible "
            'ASCII characters, within double quotes if it holds a comma or a "',
            sent=Sent.NO,
        )
    return key


def _read(value: str) -> str:
    """Return the key that *value* spells; empty when it spells none."""
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted[1])
    return value if _BARE.fullmatch(value) else ""


def claim_name(client_name: str, key: str) -> str:
    """Return the name under which *key* is claimed: the keys of two clients never meet."""
    return sha256(f"{client_name}\0{key}".encode()).hexdigest()


def fingerprint_of(request: Request) -> str:
    """
    Return what two requests with one key must have in common to be the same request.

    Headers that a route lets through do not count, since a retry may differ in them, as in a
    request id; the one that is the record key does.
    """
    parts = (
        request.method.encode(),
        request.path.encode(),
        request.query.encode(),
        request.content_type,
        request.body,
        request.key,
    )
    digest = sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # Each with its length: no two lists of parts read alike.
        digest.update(b"-" if data is None else b"%d:" % len(data) + data)
    return digest.hexdigest()
