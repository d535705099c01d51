"""Verifies JSON Web Tokens (RFC 7519, RFC 8725) and makes clients of them."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
)

from gateway.clients.client import TOKEN_NAME_PREFIX, Client, Rate
from gateway.clients.tokens.errors import TokenRefused
from gateway.clients.tokens.key_set import KeySet
from gateway.clients.tokens.key_source import KeySource

#: Maximum size of a token and of its header, in bytes.
MAX_TOKEN_BYTES, MAX_HEADER_BYTES = 16_384, 2_048
#: Maximum length of a client's name in a token, in characters.
MAX_NAME_LENGTH = 255
#: Latest end of a token that is remembered (Unix time); a larger number may not fit a float.
MAX_TIME_S = 2**53
#: Maximum number of scopes that are read.
MAX_SCOPES = 200
#: Maximum number of verified tokens that are remembered.
MAX_REMEMBERED = 4_096
#: Types of tokens that grant access; others, such as logout tokens, are for something else.
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_MALFORMED = "the token is malformed; send a JWT, signed, in the compact form"
_UNKNOWN_KEY = "the token is signed with an unknown key; get a new one"
#: What to tell clients of the errors of PyJWT; the first that fits.
_DETAILS: tuple[tuple[type[Exception], str], ...] = (
    (ExpiredSignatureError, "the token has expired; get a new one"),
    (ImmatureSignatureError, "the token is not valid yet (nbf, iat); check the issuer's clock"),
    (InvalidAudienceError, "the token is for another audience; get one for this gateway"),
    (InvalidIssuerError, "the token is from another issuer; get one from this gateway's issuer"),
    (InvalidSignatureError, "the signature of the token is wrong; get a new one"),
)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens are accepted, and the limits of their clients."""

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    client_claim: str = "sub"
    leeway_s: float = 10.0
    rate: Rate | None = None
    in_flight_share: float = 1.0


class _Verified(NamedTuple):
    client: Client
    until_s: float  # Unix time
    keys: KeySet | None


class TokenVerifier:
    """
    Makes a client of a token, and remembers it until the token expires. For any thread.

    Args:
        clock: Unix time.
    """

    def __init__(
        self, rules: TokenRules, source: KeySource, clock: Callable[[], float] = time.time
    ) -> None:
        self._rules = rules
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._remembered: dict[bytes, _Verified] = {}

    def client_of(self, token: str, *, may_wait: bool) -> Client:
        """
        Return the client of *token*, an ASCII text.

        Args:
            may_wait: whether to wait for the keys if the token's is unknown.

        Raises:
            TokenRefused: when the token is not valid.
            KeysUnavailable: when its key is unknown and the keys cannot be fetched.
            Undecided: when they have to be fetched first, and *may_wait* is false.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenRefused(f"the token exceeds {MAX_TOKEN_BYTES} bytes; get a smaller one")
        digest = hashlib.sha256(token.encode("ascii")).digest()
        found = self._remembered.get(digest)
        if found and found.keys is self._source.keys and self._clock() < found.until_s:
            return found.client
        keys, key = self._key_of(_header_of(token), may_wait)
        verified = self._verify(token, key, keys)
        self._remember(digest, verified)
        return verified.client

    def _key_of(self, header: Mapping[str, Any], may_wait: bool) -> tuple[KeySet, jwt.PyJWK]:
        """Return the key, and the set that it is from."""
        algorithm, key_id = header.get("alg"), header.get("kid")
        # Only the names of keys count: jku, x5u, jwk and x5c would let a token bring its own key.
        if not isinstance(algorithm, str) or algorithm not in self._rules.algorithms:
            expected = ", ".join(self._rules.algorithms)
            raise TokenRefused(f"the token is not signed with one of {expected}; get one that is")
        if "crit" in header or not _is_access_token(header.get("typ")):
            raise TokenRefused("the token is not for access (typ, crit); get an access token")
        if key_id is not None and not isinstance(key_id, str):
            raise TokenRefused(_MALFORMED)
        for is_last in (False, True):
            keys = self._source.keys
            key = None if keys is None else keys.find(key_id, algorithm)
            if keys is not None and key is not None:
                return keys, key
            if not is_last:
                self._source.look_again(may_wait=may_wait)
        raise TokenRefused(_UNKNOWN_KEY)

    def _verify(self, token: str, key: jwt.PyJWK, keys: KeySet) -> _Verified:
        rules = self._rules
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=rules.audiences,
                issuer=rules.issuer,
                leeway=rules.leeway_s,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except MissingRequiredClaimError as error:
            raise TokenRefused(f"the token has no claim {error.claim!r}; get one with it") from None
        except Exception as error:  # noqa: BLE001  a token can be any text
            detail = next((text for kind, text in _DETAILS if isinstance(error, kind)), _MALFORMED)
            raise TokenRefused(detail) from None
        client = Client(
            _name_in(claims, rules.client_claim),
            rate=rules.rate,
            in_flight_share=rules.in_flight_share,
            scopes=_scopes_in(claims),
        )
        return _Verified(client, min(int(claims["exp"]), MAX_TIME_S) + rules.leeway_s, keys)

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        with self._lock:
            if len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[digest] = verified


def _header_of(token: str) -> dict[str, Any]:
    """Return the header; PyJWT parses it once more, more strictly, with the signature."""
    segment = token.partition(".")[0]
    try:
        if len(segment) > MAX_HEADER_BYTES:
            raise ValueError
        header = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
        if not isinstance(header, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise TokenRefused(_MALFORMED) from None
    return header


def _is_access_token(kind: object) -> bool:
    return kind is None or (isinstance(kind, str) and kind.lower() in _TYPES)


def _name_in(claims: Mapping[str, Any], claim: str) -> str:
    name = claims.get(claim)
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME_LENGTH:
        raise TokenRefused(
            f"the token's claim {claim!r}, which names the client, is not a text of 1 to "
            f"{MAX_NAME_LENGTH} printable characters; get a token that has it"
        )
    return TOKEN_NAME_PREFIX + name


def _scopes_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes: a text (RFC 8693), or a list, in `scope` or `scp`."""
    found: list[str] = []
    for claim in ("scope", "scp"):
        value = claims.get(claim)
        listed = value.split() if isinstance(value, str) else value
        if isinstance(listed, list):
            found += [scope for scope in listed if isinstance(scope, str)]
    return frozenset(found[:MAX_SCOPES])
