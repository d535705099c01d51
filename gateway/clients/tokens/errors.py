"""Why a token names no client."""


class TokenRefused(Exception):
    """Raised with what is wrong with the token and what to do, for its client."""


class KeysUnavailable(Exception):
    """Raised when the key of the token may exist and the issuer's keys cannot be fetched."""


class Undecided(Exception):
    """Raised when the keys have to be fetched first, and the one who asks cannot wait."""
