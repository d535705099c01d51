"""Why a token names no client."""


class TokenRefused(Exception):
    """Raised with what is wrong with the token and what to do, for its client."""


class KeysUnavailable(Exception):
    """Raised when the issuer's keys cannot be fetched; the token may be valid."""


class Undecided(Exception):
    """Raised when the keys must be fetched first, and *may_wait* is false."""
