"""Credentials of clients: API keys and tokens, as bearer credentials."""

import re
from typing import Protocol

from gateway.clients.api_keys import ApiKeys
from gateway.clients.client import Client
from gateway.clients.tokens.errors import KeysUnavailable, TokenRefused, Undecided
from gateway.problems import Sent, TokenKeysUnavailable, Unauthorized

#: RFC 6750. Servers join several headers with a comma, which no credential contains.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)


class Tokens(Protocol):
    """Makes clients of tokens; see TokenVerifier."""

    def client_of(self, token: str, *, may_wait: bool) -> Client:
        """Return the client; raises TokenRefused, KeysUnavailable or Undecided."""


class Credentials:
    """
    The clients by their credentials.

    A credential with a dot is a token, if tokens are accepted; any other is an API key.

    Args:
        api_keys: None if there are no API keys.
        tokens: None if tokens are not accepted.
    """

    def __init__(self, api_keys: ApiKeys | None, tokens: Tokens | None = None) -> None:
        self.api_keys = api_keys
        self.tokens = tokens
        names = {"API key": api_keys, "token": tokens}
        self._name = " or ".join(name for name, part in names.items() if part is not None)

    def admits_body(self, authorization: str | None) -> bool:
        """
        Return whether a client with this Authorization header may send a body; never waits.

        One whose token cannot be judged before the keys are fetched may.
        """
        try:
            return self._find(authorization, may_wait=False) is not None
        except Undecided:
            return True
        except (TokenRefused, KeysUnavailable):
            return False

    def client_of(self, authorization: str | None) -> Client | None:
        """Return the client with this Authorization header, if it is known now; never waits."""
        try:
            return self._find(authorization, may_wait=False)
        except (TokenRefused, KeysUnavailable, Undecided):
            return None

    def authenticate(self, authorization: str | None, sent: Sent | None) -> Client:
        """
        Return the client; waits for the issuer's keys if need be.

        Args:
            authorization: the Authorization header; several are joined with commas.
            sent: the `sent` member of the problem that is raised.

        Raises:
            Unauthorized: when there is no valid credential.
            TokenKeysUnavailable: when the keys to verify the token cannot be fetched.
        """
        if authorization is None:
            detail = f'the request has no {self._name}; send "Authorization: Bearer <{self._name}>"'
            raise Unauthorized(detail, key_given=False, sent=sent)
        if _credential(authorization) is None:
            detail = f'the Authorization header is malformed; send one "Bearer <{self._name}>"'
            raise Unauthorized(detail, key_given=True, sent=sent)
        try:
            client = self._find(authorization, may_wait=True)
        except TokenRefused as refused:
            raise Unauthorized(str(refused), key_given=True, sent=sent) from None
        except (KeysUnavailable, Undecided):
            detail = "the keys that verify the token cannot be fetched; send again later"
            raise TokenKeysUnavailable(detail, sent=sent) from None
        if client is None:
            detail = "the API key is unknown; ask the operator of this gateway for a valid one"
            raise Unauthorized(detail, key_given=True, sent=sent)
        return client

    def _find(self, authorization: str | None, *, may_wait: bool) -> Client | None:
        credential = _credential(authorization or "")
        if credential is None:
            return None
        if self.tokens is not None and (self.api_keys is None or "." in credential):
            return self.tokens.client_of(credential, may_wait=may_wait)
        return None if self.api_keys is None else self.api_keys.client_of(credential)


def _credential(authorization: str) -> str | None:
    found = _BEARER.fullmatch(authorization.strip(" \t"))
    return None if found is None else found[1]
