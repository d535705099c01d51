"""The processes of a subject: which commands run, where, and with which settings."""

from pathlib import Path

from gateway.clients.api_keys import hash_of, new_key
from tools.bench.subject import Setup, Subject


class FakeServers:
    """Records what is started."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[str, dict[str, str], Path | None]] = {}

    def start(self, name: str, command: str, env: dict[str, str], folder: Path | None) -> None:
        self.started[name] = (command, env, folder)


def start(setup: Setup) -> FakeServers:
    servers = FakeServers()
    Subject(servers, setup)._start_all()  # type: ignore[arg-type]
    return servers


def test_shipped_runs_the_procfile_of_the_tree_with_default_settings(tmp_path: Path):
    tree = tmp_path
    (tree / "Procfile").write_text(
        "web: env A=1 B=2 gunicorn wsgi:app\nresponder: python -m responder\n"
    )

    servers = start(Setup("ours", tree=tree, python="/a b/python", label="other", shipped=True))

    assert {name: (command, folder) for name, (command, _, folder) in servers.started.items()} == {
        "other-web": ("env A=1 B=2 '/a b/python' -m gunicorn wsgi:app", tree),
        "other-responder": ("'/a b/python' -m responder", tree),
    }
    _, env, _ = servers.started["other-web"]
    assert set(env) == {"KAFKA_PREFIX", "PORT", "SECRET_KEY", "API_KEYS"}
    assert not env["API_KEYS"]
    # One SECRET_KEY for all: it signs the correlation ids.
    assert servers.started["other-responder"][1] == env


def test_a_setup_with_an_api_key_lets_in_that_key_only():
    key = new_key()

    servers = start(Setup("ours", api_key=key, shipped=True))

    _, env, _ = servers.started["ours-web"]
    assert hash_of(key) in env["API_KEYS"]
    assert key not in env["API_KEYS"]
