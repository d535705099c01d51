"""The arbiter: stop signals across a fork, invalid reloads, and a port that cannot be used."""

import logging
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from gateway.server.arbiter import (
    any_address,
    exit_if_port_is_unusable,
    refuse_invalid_reloads,
)

#: The parent's handler stands for the arbiter's, whose queue the child never reads.
PROGRAM = """
import os, signal, sys
from gateway.server.arbiter import block_stop_signals_across_fork, unblock_stop_signals

number = getattr(signal, sys.argv[1])
signal.signal(number, lambda *_: print("lost", flush=True))
block_stop_signals_across_fork()
if os.fork() == 0:
    os.kill(os.getpid(), number)
    signal.signal(number, lambda *_: print("received", flush=True))
    unblock_stop_signals()
    os._exit(0)
os.wait()
os.kill(os.getpid(), number)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_a_worker_receives_a_signal_that_came_before_its_handlers_and_the_arbiter_its_own(name):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, name],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert run.stdout.split() == ["received", "lost"]


@pytest.mark.parametrize("faults", [[], ["PORT is wrong", "routes.toml is wrong"]])
def test_a_reload_takes_place_unless_the_configuration_has_faults(caplog, faults):
    reloads = []
    server = SimpleNamespace(log=logging.getLogger("arbiter"), reload=lambda: reloads.append(1))
    refuse_invalid_reloads(server, lambda: faults)

    server.reload()

    assert len(reloads) == (0 if faults else 1)
    assert caplog.messages == [f"reload refused: {fault}" for fault in faults]


def test_without_ipv6_the_gateway_listens_on_ipv4(monkeypatch):
    with socket.socket(socket.AF_INET6) as probe:
        is_default = not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    assert any_address() == ("[::]" if is_default else "0.0.0.0")

    def refused(*_: object) -> None:
        raise OSError("no IPv6")

    monkeypatch.setattr(socket, "socket", refused)
    assert any_address() == "0.0.0.0"


def test_a_port_that_is_in_use_ends_the_start_with_advice():
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SystemExit, match=f"^PORT={port} .*in use; another process listens"):
            exit_if_port_is_unusable(port)

    exit_if_port_is_unusable(port)
