"""SIGHUP applies edited keys and routes; faulty files change nothing."""

import http.client
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.clients.api_keys import hash_of, new_key
from tests.integration.endless_clients import EndlessClients, Exchange, send_once, send_until_closed
from tests.integration.standin import StandIn, post, send, standin
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

WORKERS = 2
#: Generous: a worker starts while endless clients keep the processors busy.
LIMIT_S = 30.0
CLIENTS = 5
VALID, REVOKED, NEW = new_key(), new_key(), new_key()


def table(**clients: str) -> str:
    return "".join(
        f'[[client]]\nname = "{name}"\nkeys = ["{hash_of(key)}"]\n' for name, key in clients.items()
    )


@contextmanager
def with_keys(folder: Path) -> Iterator[tuple[StandIn, SimpleNamespace]]:
    """Run a gateway that requires API keys, with files that can be edited."""
    files = SimpleNamespace(keys=folder / "keys.toml", routes=folder / "routes.toml")
    files.keys.write_text(table(valid=VALID, revoked=REVOKED))
    files.routes.write_text('[[route]]\npath = "/echo"\ntopic = "echo"\n')
    env = {"API_KEYS_FILE": str(files.keys), "ROUTES_FILE": str(files.routes)}
    with standin(folder, WEB_CONCURRENCY=str(WORKERS), **env) as server:
        assert wait_until(lambda: len(server.worker_pids()) == WORKERS, LIMIT_S)
        yield server, files


def outcome(server: StandIn, key: str | None) -> str:
    return send(server, post("/echo", b"x", *([f"Authorization: Bearer {key}"] if key else [])))


def outcomes(server: StandIn, key: str | None) -> set[str]:
    """Return the outcomes of enough requests to reach every worker."""
    return {outcome(server, key) for _ in range(40)}


def reload(server: StandIn) -> None:
    """Reload and return when the old workers have ended."""
    before = server.worker_pids()
    server.signal_master(signal.SIGHUP)
    assert wait_until(lambda: len(server.worker_pids()) == len(before) + WORKERS, LIMIT_S)
    assert wait_until(lambda: not any(map(exists, before)), LIMIT_S)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def with_key(key: str, kept_alive: bool = False) -> Exchange:
    bearer = f"Bearer {key}"
    if kept_alive:
        return lambda server: send_until_closed(server, Authorization=bearer)
    return lambda server: send_once(server, f"Authorization: {bearer}")


@pytest.mark.parametrize("kept_alive", [False, True], ids=["new connections", "kept alive"])
def test_a_reload_revokes_one_key_and_adds_another_without_a_failed_request(
    tmp_path: Path, kept_alive: bool
):
    with (
        with_keys(tmp_path) as (server, files),
        EndlessClients(server, CLIENTS, with_key(VALID, kept_alive)) as valid,
        EndlessClients(server, CLIENTS, with_key(REVOKED, kept_alive)) as revoked,
    ):
        assert wait_until(lambda: min(valid.outcomes["200"], revoked.outcomes["200"]) > 50, LIMIT_S)
        assert outcomes(server, NEW) == {"401"}
        files.keys.write_text(table(valid=VALID, new=NEW))
        # An edit alone changes nothing.
        assert outcomes(server, REVOKED) == {"200"}
        reload(server)
        served, refused = valid.outcomes["200"], revoked.outcomes["401"]
        assert outcomes(server, REVOKED) == {"401"}
        assert outcomes(server, NEW) == {"200"}
        assert wait_until(lambda: valid.outcomes["200"] > served + 50, LIMIT_S)
        assert wait_until(lambda: revoked.outcomes["401"] > refused + 50, LIMIT_S)

    assert set(valid.outcomes) == {"200"}, valid.outcomes
    assert set(revoked.outcomes) == {"200", "401"}, revoked.outcomes


FAULTS = {
    "keys": (lambda files: files.keys.write_text("[[client]]\n"), "client 1: keys: expected"),
    "no keys": (lambda files: files.keys.unlink(), "API_KEYS_FILE="),
    "routes": (lambda files: files.routes.write_text("[[route"), "routes.toml: not TOML"),
}


def nodes(server: StandIn) -> set[str]:
    """Return the names of the workers that answer twenty requests."""
    found = set()
    for _ in range(20):
        connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            found.add(json.loads(connection.getresponse().read())["node"])
        finally:
            connection.close()
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reload_with_a_faulty_file_changes_nothing(tmp_path: Path, fault: str):
    spoil, expected = FAULTS[fault]
    with (
        with_keys(tmp_path) as (server, files),
        EndlessClients(server, 2, with_key(VALID)) as clients,
    ):
        workers = server.worker_pids()
        keys, routes = files.keys.read_text(), files.routes.read_text()
        spoil(files)
        server.signal_master(signal.SIGHUP)
        assert wait_until(lambda: "reload refused: " in server.logged(), LIMIT_S), server.logged()
        refusals = [line for line in server.logged().splitlines() if "reload refused" in line]
        assert any(expected in line for line in refusals), refusals
        assert outcomes(server, VALID) == {"200"}
        assert server.worker_pids() == workers

        # A worker that is replaced meanwhile gets the kept configuration, too.
        before = nodes(server)
        os.kill(workers[0], signal.SIGTERM)
        assert wait_until(lambda: len(server.worker_pids()) == WORKERS + 1, LIMIT_S)
        assert wait_until(lambda: bool(nodes(server) - before), LIMIT_S)
        assert outcomes(server, VALID) == {"200"}
        assert outcomes(server, None) == {"401"}

        files.keys.write_text(keys.replace(hash_of(REVOKED), hash_of(NEW)))
        files.routes.write_text(routes)
        reload(server)
        assert outcomes(server, NEW) == {"200"}
        assert outcomes(server, REVOKED) == {"401"}

    assert set(clients.outcomes) == {"200"}, clients.outcomes
    assert not [line for line in server.logged().splitlines() if is_secret(line)]


def is_secret(line: str) -> bool:
    secrets = [VALID, REVOKED, NEW, *map(hash_of, (VALID, REVOKED, NEW))]
    return any(secret.removeprefix("sha256:") in line for secret in secrets)


def test_the_access_log_names_the_client_and_no_key(tmp_path: Path):
    with with_keys(tmp_path) as (server, _):
        assert outcome(server, VALID) == "200"
        assert send(server, post(f"/echo?key={VALID}", b"x")) == "401"
        assert wait_until(lambda: server.logged().count('"POST /echo') == 2, LIMIT_S), (
            server.logged()
        )

        lines = server.logged().splitlines()
        requests = [line.split(" ") for line in lines if "/echo" in line]
        clients = [field for fields in requests for field in fields if field.startswith("client=")]
        # Two workers may have logged them, each in its own time.
        assert sorted(clients) == ["client=-", "client=valid"]
        assert not [line for line in lines if is_secret(line)]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_process_list_has_no_key(tmp_path: Path):
    with with_keys(tmp_path) as (server, _):
        for pid in (server.child.pid, *server.worker_pids()):
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
            assert not is_secret(arguments)
