"""gunicorn's parser with what it is spared: the same requests, the same trust."""

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidSchemeHeaders

from gateway.server.http_request import MAX_PEERS, HttpParser, SteadyConfig

HEAD = b"POST /echo?a=b HTTP/1.1\r\nHost: here\r\nX-Forwarded-Proto: https\r\n%b\r\n"
PROXY, STRANGER = ("10.0.0.1", 1234), ("10.0.0.2", 1234)


class CountingConfig(Config):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's settings, and how often a setting was looked up."""

    def __init__(self):
        super().__init__()
        self.__dict__["asked"] = []

    def __getattr__(self, name):
        self.__dict__["asked"].append(name)
        return super().__getattr__(name)


@pytest.fixture
def cfg():
    config = CountingConfig()
    config.set("forwarded_allow_ips", PROXY[0])
    return SteadyConfig(config)


def parsed(cfg, peer, further=b""):
    return next(HttpParser(cfg, [HEAD % further], peer))


def test_a_setting_is_looked_up_once(cfg):
    parsed(cfg, STRANGER)
    looked_up = list(cfg._cfg.asked)
    parsed(cfg, STRANGER)

    assert looked_up == cfg._cfg.asked
    assert len(looked_up) > 3


def test_a_setting_that_there_is_not_is_missing(cfg):
    with pytest.raises(AttributeError):
        _ = cfg.no_such_setting


@pytest.mark.parametrize("times", [1, 2])
def test_only_proxies_that_are_trusted_say_what_the_scheme_is(cfg, times):
    for _ in range(times):
        assert parsed(cfg, PROXY).scheme == "https"
        assert parsed(cfg, STRANGER).scheme == "http"


def test_a_unix_socket_is_trusted(cfg):
    assert [parsed(cfg, "") for _ in range(2)][1].scheme == "https"


def test_a_peer_is_looked_into_once(cfg, monkeypatch):
    asked = []
    allowed = cfg.forwarded_allow_networks

    def noted():
        asked.append(1)
        return allowed()

    monkeypatch.setattr(cfg, "forwarded_allow_networks", noted)
    for _ in range(3):
        parsed(cfg, STRANGER)

    assert len(asked) == 1


def test_so_many_peers_are_remembered_and_no_more(cfg):
    for number in range(2 * MAX_PEERS + 1):
        parsed(cfg, (f"10.1.{number // 256}.{number % 256}", 1))
        assert len(cfg.trusted_peers) <= MAX_PEERS


def test_what_gunicorn_refuses_is_refused(cfg):
    with pytest.raises(InvalidSchemeHeaders):
        parsed(cfg, PROXY, b"X-Forwarded-Ssl: off\r\n")
