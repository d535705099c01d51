"""SIGHUP: keys and routes that were edited count from now on, and faulty ones do no harm."""

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
from tests.integration.crowd import Ask, Crowd, ask_on_kept_alive_connections, ask_once
from tests.integration.standin import StandIn, ask, post, standin
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

WORKERS = 2
#: Generous: a worker starts while clients that never stop keep the processors busy.
LIMIT_S = 30.0
CLIENTS = 5
KEPT, REVOKED, NEW = new_key(), new_key(), new_key()


def table(**clients: str) -> str:
    return "".join(
        f'[[client]]\nname = "{name}"\nkeys = ["{hash_of(key)}"]\n' for name, key in clients.items()
    )


@contextmanager
def guarded(folder: Path) -> Iterator[tuple[StandIn, SimpleNamespace]]:
    """Run a gateway that asks for keys, with files that can be edited."""
    files = SimpleNamespace(keys=folder / "keys.toml", routes=folder / "routes.toml")
    files.keys.write_text(table(kept=KEPT, revoked=REVOKED))
    files.routes.write_text('[[route]]\npath = "/echo"\ntopic = "echo"\n')
    env = {"API_KEYS_FILE": str(files.keys), "ROUTES_FILE": str(files.routes)}
    with standin(folder, WEB_CONCURRENCY=str(WORKERS), **env) as server:
        assert wait_until(lambda: len(server.worker_pids()) == WORKERS, LIMIT_S)
        yield server, files


def ending(server: StandIn, key: str | None) -> str:
    return ask(server, post("/echo", b"x", *([f"Authorization: Bearer {key}"] if key else [])))


def endings(server: StandIn, key: str | None) -> set[str]:
    """Ask so often that every worker has answered, as good as certainly."""
    return {ending(server, key) for _ in range(40)}


def reload(server: StandIn) -> None:
    """Reload and return when the old workers are gone."""
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


def asking(key: str, kept_alive: bool = False) -> Ask:
    bearer = f"Bearer {key}"
    if kept_alive:
        return lambda server: ask_on_kept_alive_connections(server, Authorization=bearer)
    return lambda server: ask_once(server, f"Authorization: {bearer}")


@pytest.mark.parametrize("kept_alive", [False, True], ids=["new connections", "kept alive"])
def test_a_key_is_revoked_and_another_let_in_while_nobody_else_notices(
    tmp_path: Path, kept_alive: bool
):
    with (
        guarded(tmp_path) as (server, files),
        Crowd(server, CLIENTS, asking(KEPT, kept_alive)) as kept,
        Crowd(server, CLIENTS, asking(REVOKED, kept_alive)) as revoked,
    ):
        assert wait_until(lambda: min(kept.endings["200"], revoked.endings["200"]) > 50, LIMIT_S)
        assert endings(server, NEW) == {"401"}
        files.keys.write_text(table(kept=KEPT, new=NEW))
        # An edit alone changes nothing.
        assert endings(server, REVOKED) == {"200"}
        reload(server)
        served, refused = kept.endings["200"], revoked.endings["401"]
        assert endings(server, REVOKED) == {"401"}
        assert endings(server, NEW) == {"200"}
        assert wait_until(lambda: kept.endings["200"] > served + 50, LIMIT_S)
        assert wait_until(lambda: revoked.endings["401"] > refused + 50, LIMIT_S)

    assert set(kept.endings) == {"200"}, kept.endings
    assert set(revoked.endings) == {"200", "401"}, revoked.endings


FAULTS = {
    "keys": (lambda files: files.keys.write_text("[[client]]\n"), "client 1: keys: expected"),
    "no keys": (lambda files: files.keys.unlink(), "API_KEYS_FILE="),
    "routes": (lambda files: files.routes.write_text("[[route"), "routes.toml: not TOML"),
}


def who_answers(server: StandIn) -> int:
    """Return the id of the worker that happens to answer."""
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        node = json.loads(connection.getresponse().read())["node"]
    finally:
        connection.close()
    return int(node.rpartition(" ")[2])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_told_and_the_server_goes_on_with_what_it_has(tmp_path: Path, fault: str):
    spoil, said = FAULTS[fault]
    with guarded(tmp_path) as (server, files), Crowd(server, 2, asking(KEPT)) as crowd:
        workers = server.worker_pids()
        keys, routes = files.keys.read_text(), files.routes.read_text()
        spoil(files)
        server.signal_master(signal.SIGHUP)
        assert wait_until(lambda: "reload refused: " in server.logged(), LIMIT_S), server.logged()
        refusals = [line for line in server.logged().splitlines() if "reload refused" in line]
        assert any(said in line for line in refusals), refusals
        assert endings(server, KEPT) == {"200"}
        assert server.worker_pids() == workers

        # A worker that is replaced meanwhile has what the others have, too.
        os.kill(workers[0], signal.SIGTERM)
        assert wait_until(lambda: len(server.worker_pids()) == WORKERS + 1, LIMIT_S)
        assert wait_until(lambda: who_answers(server) == server.worker_pids()[-1], LIMIT_S)
        assert endings(server, KEPT) == {"200"}
        assert endings(server, None) == {"401"}

        files.keys.write_text(keys.replace(hash_of(REVOKED), hash_of(NEW)))
        files.routes.write_text(routes)
        reload(server)
        assert endings(server, NEW) == {"200"}
        assert endings(server, REVOKED) == {"401"}

    assert set(crowd.endings) == {"200"}, crowd.endings
    assert not [line for line in server.logged().splitlines() if is_secret(line)]


def is_secret(line: str) -> bool:
    secrets = [KEPT, REVOKED, NEW, *map(hash_of, (KEPT, REVOKED, NEW))]
    return any(secret.removeprefix("sha256:") in line for secret in secrets)


def test_the_access_log_names_the_client_and_no_key(tmp_path: Path):
    with guarded(tmp_path) as (server, _):
        assert ending(server, KEPT) == "200"
        assert ask(server, post(f"/echo?key={KEPT}", b"x")) == "401"
        assert wait_until(lambda: server.logged().count("/echo") == 2, LIMIT_S), server.logged()

        lines = server.logged().splitlines()
        assert [line.rpartition(" ")[2] for line in lines if "/echo" in line] == [
            "client=kept",
            "client=-",
        ]
        assert not [line for line in lines if is_secret(line)]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_process_list_has_no_key(tmp_path: Path):
    with guarded(tmp_path) as (server, _):
        for pid in (server.child.pid, *server.worker_pids()):
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
            assert not is_secret(arguments)
