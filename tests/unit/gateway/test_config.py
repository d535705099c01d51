"""What the gateway runs by: read together, inherited, and not given up for something faulty."""

import logging
from types import SimpleNamespace

import pytest

from gateway import config as configuration
from gateway.clients.api_keys import hash_of, new_key
from gateway.clients.client import Client
from gateway.config import ConfigurationError, current, read, validate_before_reload

SETTINGS = {
    "KAFKA_URL": "kafka://127.0.0.1:9092",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "SECRET_KEY": "0123456789abcdef",
    "KAFKA_PREFIX": "team.",
}
KEY, OTHER_KEY = new_key(), new_key()


def table(key):
    return f'[[client]]\nname = "shop"\nkeys = ["{hash_of(key)}"]\n'


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Everything good, in files of its own; and nothing read yet."""
    monkeypatch.setattr(configuration, "_current", None)
    files = SimpleNamespace(routes=tmp_path / "routes.toml", keys=tmp_path / "keys.toml")
    files.routes.write_text('[[route]]\npath = "/echo"\ntopic = "echo"\n')
    files.keys.write_text(table(KEY))
    for name in ("API_KEYS", "API_KEYS_FILE", "ROUTES_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROUTES_FILE", str(files.routes))
    monkeypatch.setenv("API_KEYS_FILE", str(files.keys))
    return files


def owner_of(key):
    """Whose *key* is by what holds now."""
    keyring = current().keyring
    assert keyring is not None
    return keyring.client_of(key)


@pytest.fixture
def server():
    """An arbiter, as far as reloading goes."""
    found = SimpleNamespace(log=logging.getLogger("arbiter"), reloads=0)

    def reload():
        found.reloads += 1

    found.reload = reload
    validate_before_reload(found)
    return found


def test_settings_routes_and_keys_are_read_together():
    found = read()

    assert found.settings.kafka_prefix == "team."
    assert found.routes[0].topic == "team.echo"
    assert owner_of(KEY) == Client("shop")


def test_keys_may_stand_in_the_environment(monkeypatch):
    monkeypatch.delenv("API_KEYS_FILE")
    monkeypatch.setenv("API_KEYS", table(OTHER_KEY))

    assert owner_of(OTHER_KEY) == Client("shop")


def test_without_keys_the_gateway_is_open(monkeypatch):
    monkeypatch.delenv("API_KEYS_FILE")

    assert read().keyring is None


def test_keys_in_both_places_are_a_fault(monkeypatch):
    monkeypatch.setenv("API_KEYS", table(KEY))

    with pytest.raises(
        ConfigurationError, match="API_KEYS_FILE and API_KEYS are both set"
    ) as caught:
        read()

    assert hash_of(KEY) not in str(caught.value)


def test_the_routes_of_a_client_are_those_of_routes_toml(environment):
    environment.keys.write_text(table(KEY) + 'routes = ["/orders"]')

    with pytest.raises(ConfigurationError, match="'/orders': expected one of /echo"):
        read()


def test_what_was_read_holds_until_it_is_read_again(environment):
    first = current()
    environment.keys.write_text(table(OTHER_KEY))

    assert current() is first
    read()
    assert owner_of(OTHER_KEY) == Client("shop")
    assert owner_of(KEY) is None


FAULTS = {
    "keys": lambda files, _: files.keys.write_text("[[client]]\n"),
    "no keys file": lambda files, _: files.keys.unlink(),
    "routes": lambda files, _: files.routes.write_text("[[route"),
    "a setting": lambda _, monkeypatch: monkeypatch.setenv("PORT", "none"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reload_with_a_fault_is_refused_and_what_held_still_does(
    environment, server, monkeypatch, caplog, fault
):
    first = current()
    FAULTS[fault](environment, monkeypatch)

    server.reload()

    assert server.reloads == 0
    assert current() is first
    assert caplog.messages
    assert all(message.startswith("reload refused: ") for message in caplog.messages)


def test_each_fault_is_a_line_of_the_log(environment, server, caplog):
    environment.keys.write_text('[[client]]\nrate = "x"\n')

    server.reload()

    assert len(caplog.messages) == 3


def test_a_reload_without_a_fault_takes_place_with_what_was_checked(environment, server):
    current()
    environment.keys.write_text(table(OTHER_KEY))

    server.reload()

    assert server.reloads == 1
    # What is read once is not read again: it may have been edited since.
    environment.keys.write_text("[[client")
    assert owner_of(OTHER_KEY) == Client("shop")


def test_a_reload_after_the_fault_was_mended_takes_place(environment, server):
    environment.keys.write_text("[[client")
    server.reload()
    environment.keys.write_text(table(OTHER_KEY))

    server.reload()

    assert server.reloads == 1
