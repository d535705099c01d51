"""The public keys of a token issuer: reads a JSON Web Key Set (RFC 7517)."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError

#: Maximum number of keys that are read.
MAX_KEYS = 100
#: The members of public keys. Others, such as those of private keys, are ignored.
_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")


class KeySetError(Exception):
    """Raised with the reason, in one line, when a document has no usable key."""


class KeySet:
    """
    Keys by id and algorithm.

    Each key is bound to its algorithms, so that no token can choose another one for it.

    Args:
        keys: each with its id, once for each of its algorithms.
        size: number of keys.
    """

    def __init__(self, keys: Sequence[tuple[str | None, PyJWK]], size: int) -> None:
        self._size = size
        self._by_id: dict[tuple[str, str], PyJWK] = {}
        self._by_algorithm: dict[str, list[PyJWK]] = {}
        for key_id, key in keys:
            if key_id is not None:
                self._by_id.setdefault((key_id, key.algorithm_name), key)
            self._by_algorithm.setdefault(key.algorithm_name, []).append(key)

    def __len__(self) -> int:
        return self._size

    def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """Return the key; without an id the only one for *algorithm*, if there is only one."""
        if key_id is not None:
            return self._by_id.get((key_id, algorithm))
        candidates = self._by_algorithm.get(algorithm, [])
        return candidates[0] if len(candidates) == 1 else None


def read_key_set(document: bytes, algorithms: Sequence[str]) -> KeySet:
    """
    Return the keys in *document* that verify signatures with one of *algorithms*.

    Keys of other kinds, for encryption, too short or malformed are left out.

    Raises:
        KeySetError: when no key is left.
    """
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise KeySetError("it is not JSON") from None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise KeySetError('it is no key set, an object with a list "keys"')
    usable = [found for one in keys[:MAX_KEYS] if (found := list(_keys(one, algorithms)))]
    if not usable:
        raise KeySetError(f"none of its {len(keys)} keys is for {', '.join(algorithms)}")
    return KeySet([key for found in usable for key in found], len(usable))


def _keys(found: Any, algorithms: Sequence[str]) -> Iterator[tuple[str | None, PyJWK]]:
    """Yield the key with its id, once for each of *algorithms* that it is for."""
    if not isinstance(found, dict) or not _is_for_signatures(found):
        return
    key_id = found.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        return
    public = {m: found[m] for m in _PUBLIC_MEMBERS if isinstance(found.get(m), str)}
    for algorithm in algorithms:
        if found.get("alg", algorithm) != algorithm:
            continue
        try:
            key = PyJWK(public, algorithm)
            # Also compares the curve.
            prepared = key.Algorithm.prepare_key(key.key)
        except (PyJWTError, ValueError, TypeError):
            continue
        if not key.Algorithm.check_key_length(prepared):
            yield key_id, key


def _is_for_signatures(found: dict[str, Any]) -> bool:
    operations = found.get("key_ops", ["verify"])
    return (
        found.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and ("verify" in operations)
    )
