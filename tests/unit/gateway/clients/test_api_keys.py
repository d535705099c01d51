"""API keys: made, hashed and recognized."""

import hashlib
import hmac
import math
import tomllib

import pytest

from gateway import keys
from gateway.clients.api_keys import ApiKeys, hash_of, new_key
from gateway.clients.client import Client
from rendezvous.process.log_text import KEY_PATTERN
from tests.fakes import record_calls

SHOP, DEPOT = Client("shop"), Client("depot")


def test_a_key_has_a_prefix_and_256_random_bits():
    found = {new_key() for _ in range(100)}

    assert len(found) == 100
    for key in found:
        assert key.startswith("rdv_")
        assert len(key) == len("rdv_") + math.ceil(256 / 6)
        assert KEY_PATTERN.fullmatch(key)


def test_the_stored_hash_of_a_key_is_its_sha_256():
    assert hash_of("rdv_a") == "sha256:" + hashlib.sha256(b"rdv_a").hexdigest()


def test_a_key_belongs_to_its_client_and_any_other_key_to_none():
    first, second = new_key(), new_key()
    found = ApiKeys([(hash_of(first), SHOP), (hash_of(second), DEPOT)])

    assert found.client_of(first) is SHOP
    assert found.client_of(second) is DEPOT
    for other in (new_key(), "", first[:-1], first + "a", hash_of(first)):
        assert found.client_of(other) is None


@pytest.mark.parametrize("position", [0, 1, 2, None])
def test_a_key_is_compared_with_every_hash_in_constant_time(monkeypatch, position):
    compared = record_calls(monkeypatch, hmac, "compare_digest")
    held = [new_key() for _ in range(3)]
    found = ApiKeys([(hash_of(key), SHOP) for key in held])

    found.client_of(new_key() if position is None else held[position])

    assert len(compared) == 3


def test_a_new_key_is_printed_once_with_the_table_that_permits_it(capsys):
    keys.main(["shop"])

    output = capsys.readouterr().out
    (key,) = KEY_PATTERN.findall(output)
    lines = [line.strip() for line in output.splitlines()]
    table = "\n".join(line for line in lines if line.startswith(("[[", "name", "keys")))
    assert tomllib.loads(table) == {"client": [{"name": "shop", "keys": [hash_of(key)]}]}


@pytest.mark.parametrize("arguments", [[], ["a b"], ["rdv_" + "a" * 30], ["a", "b"], [""]])
def test_an_invalid_name_is_refused_and_not_shown(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        keys.main(arguments)

    assert caught.value.code == 2
    output = capsys.readouterr().err
    assert "NAME" in output or "unrecognized" in output
    assert "rdv_a" not in output


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit) as caught:
        keys.main(["--help"])

    assert caught.value.code == 0
    assert "python -m gateway.keys" in capsys.readouterr().out
