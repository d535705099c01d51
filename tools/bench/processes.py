"""The processes of a subject."""

import re
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.clients.api_keys import hash_of
from tools.bench.setup import Process, Setup
from tools.devstack.ports import LOOPBACK
from tools.devstack.process.procfile import read_procfile

#: Threads per worker: a waiting request holds one; enough for all connections.
THREADS = 300
REPLY_TIMEOUT_S = 10
NAIVE = (
    f"gunicorn -k gthread --threads {THREADS} --worker-connections 1000 -c /dev/null "
    "tools.bench.programs.naive_gateway:app"
)
#: What precedes the module in a command of the Procfile.
COMMAND_PREFIX = re.compile(r"(?P<env>(?:env (?:\w+=\S* )+)?)(?:python -m )?")
#: Programs with the arguments broker, topic and group, by subject; the echo responder by default.
RESPONDERS = {
    "textbook": "textbook_responder {} {} {}",
    "textbook-flush": "textbook_responder {} {} {} --flush",
}
ECHO = "echo_responder {} {} {}"
NAIVE_SUBJECTS = ("naive", "textbook", "textbook-flush")


@dataclass(frozen=True)
class Place:
    """Where a subject runs: its broker, the prefix of its topics and groups, its port."""

    broker: str
    prefix: str
    port: int


def processes_of(setup: Setup, place: Place) -> Iterator[Process]:
    """Yield the processes of *setup* in the order of their start."""
    if setup.foreign is not None:
        yield from setup.foreign.processes(place.broker, place.port, f"{place.prefix}foreign")
    elif setup.shipped:
        yield from shipped(setup, place)
    elif setup.subject.startswith("floor-shipped"):
        yield from (one for one in shipped(setup, place) if one.kind == "responder")
    else:
        yield _responder(setup, place)
        if setup.subject in NAIVE_SUBJECTS:
            yield from _naive(setup, place)
        elif not setup.floor:
            yield from _ours(setup, place)


def shipped(setup: Setup, place: Place) -> Iterator[Process]:
    """Yield the processes of the Procfile with default settings."""
    env = {"KAFKA_PREFIX": place.prefix, **_env_of_web(setup, place)}
    python = shlex.quote(setup.python)
    for kind, command in read_procfile((setup.tree or Path()) / "Procfile").items():
        command = COMMAND_PREFIX.sub(rf"\g<env>{python} -m ", command, 1)
        yield Process(kind, command, env, setup.tree)


def _responder(setup: Setup, place: Place) -> Process:
    program = RESPONDERS.get(setup.subject, ECHO)
    arguments = program.format(place.broker, f"{place.prefix}echo", f"{place.prefix}group")
    return Process("responder", f"python -m tools.bench.programs.{arguments}", _env(place))


def _env(place: Place) -> dict[str, str]:
    return {"KAFKA_PREFIX": place.prefix, "MALLOC_ARENA_MAX": "1"}  # as in the Procfile


def _naive(setup: Setup, place: Place) -> Iterator[Process]:
    env = {
        "NAIVE_REQUESTS": f"{place.prefix}echo",
        "NAIVE_REPLIES": f"{place.prefix}replies",
        "NAIVE_GROUP": f"{place.prefix}naive",
    }
    yield Process("replies", "python -m tools.bench.programs.naive_replies", env)
    bind = f"-b {LOOPBACK}:{place.port} -w {setup.workers}"
    yield Process("web", f"{NAIVE} {bind}", env)


def _ours(setup: Setup, place: Place) -> Iterator[Process]:
    env = {
        **_env(place),
        "REPLIES_MODE": "broadcast" if setup.subject == "ours-broadcast" else "group",
        "WEB_CONCURRENCY": str(setup.workers),
        "THREADS": str(THREADS),
        "REPLY_TIMEOUT_S": str(REPLY_TIMEOUT_S),
        **_env_of_web(setup, place),
    }
    python = shlex.quote(setup.python)
    replies = Process("replies", f"{python} -m replies", env, setup.tree)
    yield from [replies] * setup.replies
    yield replace(replies, kind="web", command=f"{python} -m gunicorn {setup.app}")


def _env_of_web(setup: Setup, place: Place) -> dict[str, str]:
    key = setup.api_key
    clients = f'[[client]]\nname = "bench"\nkeys = ["{hash_of(key)}"]\n' if key else ""
    return {
        "PORT": str(place.port),
        "SECRET_KEY": secrets.token_hex(32),
        "API_KEYS": clients,
        **setup.env,
    }
