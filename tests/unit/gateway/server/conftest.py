"""A worker that serves requests, with short times."""

import logging

import pytest
from gunicorn.glogging import Logger

from gateway.server import worker as worker_module
from gateway.server.http import channel as channel_module
from gateway.server.http import connections as connections_module
from tests.unit.gateway.server.running_worker import FailingListener, Running


@pytest.fixture
def listener():
    with FailingListener() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield found


@pytest.fixture
def warnings(monkeypatch):
    """Everything that is logged from WARNING up."""
    found: list[str] = []
    for name in ("warning", "error", "exception"):
        monkeypatch.setattr(Logger, name, lambda _, text, *args: found.append(text % args))
    throttled = logging.getLogger("gunicorn.error")
    monkeypatch.setattr(throttled, "log", lambda _, text, *args, extra: found.append(text % args))
    return found


@pytest.fixture
def new_running(listener, warnings, monkeypatch):
    """Run a worker with other gunicorn settings."""
    monkeypatch.setattr(worker_module, "SWEEP_INTERVAL_S", 0.02)
    monkeypatch.setattr(connections_module, "DRAIN_READ_S", 0.2)
    monkeypatch.setattr(channel_module, "LINGERING_CLOSE_S", 0.2)
    found = []

    def run(**settings):
        found.append(Running(listener, **settings))
        return found[-1]

    yield run
    for running in found:
        running.close()


@pytest.fixture
def running(new_running):
    return new_running()
