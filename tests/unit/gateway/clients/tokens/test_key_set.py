"""Key sets: which keys are usable, and for which tokens."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from gateway.clients.tokens.key_set import MAX_KEYS, KeySetError, read_key_set

RSA = RSAAlgorithm.to_jwk(rsa.generate_private_key(65_537, 2_048).public_key(), as_dict=True)
PRIVATE = ec.generate_private_key(ec.SECP256R1())
EC = ECAlgorithm.to_jwk(PRIVATE.public_key(), as_dict=True)
BOTH = ("RS256", "ES256")


def read(*keys, algorithms=BOTH):
    return read_key_set(json.dumps({"keys": keys}).encode(), algorithms)


def test_a_key_is_found_by_id_and_algorithm():
    found = read(RSA | {"kid": "r"}, EC | {"kid": "e"})

    assert len(found) == 2
    assert found.find("r", "RS256") is not None
    assert found.find("e", "ES256") is not None
    assert found.find("r", "ES256") is found.find("e", "RS256") is found.find("x", "RS256") is None


def test_one_key_may_be_for_several_algorithms_and_is_bound_to_each():
    found = read(RSA | {"kid": "r"}, algorithms=("RS256", "PS256"))

    assert len(found) == 1
    for algorithm in ("RS256", "PS256"):
        key = found.find("r", algorithm)
        assert key is not None
        assert key.algorithm_name == algorithm


def test_a_key_that_names_its_algorithm_is_for_no_other():
    found = read(RSA | {"kid": "r", "alg": "PS256"}, algorithms=("RS256", "PS256"))

    assert found.find("r", "RS256") is None
    assert found.find("r", "PS256") is not None


def test_other_kinds_of_keys_can_be_chosen():
    key = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)

    assert read(key | {"kid": "o"}, algorithms=("EdDSA",)).find("o", "EdDSA") is not None


def test_without_an_id_the_only_key_for_the_algorithm_is_meant():
    assert read(RSA, EC).find(None, "RS256") is not None
    assert read(RSA | {"kid": "1"}, RSA | {"kid": "2"}).find(None, "RS256") is None


UNUSABLE: dict[str, Any] = {
    "a secret": {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "alg": "RS256"},
    "another curve": EC | {"crv": "P-384"},
    "no point": EC | {"x": "AAAA"},
    "a number": EC | {"x": 7},
    "for encryption": EC | {"use": "enc"},
    "for signing": EC | {"key_ops": ["sign"]},
    "a text as operations": EC | {"key_ops": "verify"},
    "another algorithm": EC | {"alg": "HS256"},
    "a number as id": EC | {"kid": 7},
    "too small": RSA | {"n": "AQAB"},
    "not Base64": RSA | {"n": "!"},
    "without members": {"kty": "RSA"},
    "a number as type": {"kty": 7},
    "empty": {},
    "a list": [],
    "nothing": None,
    "a text": "key",
}


@pytest.mark.parametrize("key", UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_is_unusable_is_left_out_and_others_are_not(key):
    found = read(key, EC | {"kid": "good"})

    assert len(found) == 1
    with pytest.raises(KeySetError, match="none of its 1 keys is for RS256, ES256"):
        read(key)


def test_a_short_rsa_key_is_left_out():
    short = RSAAlgorithm.to_jwk(rsa.generate_private_key(65_537, 1_024).public_key(), as_dict=True)

    with pytest.raises(KeySetError, match="none of its 1 keys"):
        read(short)


def test_the_private_part_of_a_key_is_ignored():
    private = ECAlgorithm.to_jwk(PRIVATE, as_dict=True)
    key = read(private | {"kid": "e"}).find("e", "ES256")

    assert key is not None
    assert not hasattr(key.key, "private_numbers")


def test_only_so_many_keys_are_read():
    found = read(*[EC | {"kid": str(number)} for number in range(MAX_KEYS + 5)])

    assert len(found) == MAX_KEYS


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", 'no key set, an object with a list "keys"'),
        (b'{"keys": {}}', "no key set"),
        (b'{"keys": []}', "none of its 0 keys"),
    ],
    ids=["empty", "html", "binary", "nested", "list", "object", "none"],
)
def test_what_is_no_key_set_is_an_error(document, reason):
    with pytest.raises(KeySetError, match=reason):
        read_key_set(document, BOTH)
