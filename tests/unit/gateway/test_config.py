"""Settings, routes and API keys are read together; faulty ones never become the current ones."""

from types import SimpleNamespace

import pytest

from gateway import config as configuration
from gateway.clients.api_keys import hash_of, new_key
from gateway.clients.client import Client
from gateway.config import ConfigurationError, current, read, read_again

SETTINGS = {
    "KAFKA_URL": "kafka://127.0.0.1:9092",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "SECRET_KEY": "b1946ac92492d2347c6235b4d2611184",
    "KAFKA_PREFIX": "team.",
}
KEY, OTHER_KEY = new_key(), new_key()


def table(key):
    return f'[[client]]\nname = "shop"\nkeys = ["{hash_of(key)}"]\n'


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A valid configuration in files of this test, not read yet."""
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


def client_of(key):
    """Return the client of *key* in the current configuration."""
    api_keys = current().api_keys
    assert api_keys is not None
    return api_keys.client_of(key)


def test_settings_routes_and_keys_are_read_together():
    found = read()

    assert found.settings.kafka_prefix == "team."
    assert found.routes[0].topic == "team.echo"
    assert client_of(KEY) == Client("shop")


def test_keys_may_be_in_the_environment(monkeypatch):
    monkeypatch.delenv("API_KEYS_FILE")
    monkeypatch.setenv("API_KEYS", table(OTHER_KEY))

    assert client_of(OTHER_KEY) == Client("shop")


def test_without_keys_clients_need_none(monkeypatch):
    monkeypatch.delenv("API_KEYS_FILE")

    assert read().api_keys is None


def test_tokens_without_their_packages_are_a_fault(monkeypatch):
    monkeypatch.setattr(configuration, "find_spec", lambda name: None)
    for name in ("JWT_ISSUER", "JWT_AUDIENCE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("JWT_JWKS_URL", "https://issuer.example/keys")

    with pytest.raises(ConfigurationError, match=r"pip install -r requirements-jwt\.txt"):
        read()


def test_scopes_need_clients_that_can_have_them(monkeypatch, environment):
    environment.routes.write_text(
        '[[route]]\npath = "/echo"\ntopic = "echo"\nscopes = ["orders:write"]\n'
    )
    assert read().routes[0].scopes == ("orders:write",)
    monkeypatch.delenv("API_KEYS_FILE")

    with pytest.raises(ConfigurationError, match="/echo requires scopes, but everybody may call"):
        read()


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


def test_the_configuration_is_kept_until_it_is_read_again(environment):
    first = current()
    environment.keys.write_text(table(OTHER_KEY))

    assert current() is first
    read()
    assert client_of(OTHER_KEY) == Client("shop")
    assert client_of(KEY) is None


FAULTS = {
    "keys": lambda files, _: files.keys.write_text("[[client]]\n"),
    "no keys file": lambda files, _: files.keys.unlink(),
    "routes": lambda files, _: files.routes.write_text("[[route"),
    "a setting": lambda _, monkeypatch: monkeypatch.setenv("PORT", "none"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_configuration_is_not_made_the_current_one(environment, monkeypatch, fault):
    first = current()
    FAULTS[fault](environment, monkeypatch)

    assert read_again()
    assert current() is first


def test_each_fault_is_a_line(environment):
    environment.keys.write_text('[[client]]\nrate = "x"\n')

    assert len(read_again()) == 3


def test_a_configuration_without_faults_becomes_the_current_one(environment):
    environment.keys.write_text("[[client")
    assert read_again()
    environment.keys.write_text(table(OTHER_KEY))

    assert read_again() == []
    # The files are not read again: they may have been edited since.
    environment.keys.write_text("[[client")
    assert client_of(OTHER_KEY) == Client("shop")
