"""The names of gunicorn that gateway/server uses or overrides; most of them are undocumented."""

import inspect
import os
from typing import Any

import pytest
from gunicorn import __version__, arbiter, glogging
from gunicorn.config import Config
from gunicorn.http import message, parser, wsgi
from gunicorn.workers import gthread

#: Methods and class attributes of each class.
OF_CLASSES: dict[Any, str] = {
    arbiter.Arbiter: "manage_workers murder_workers reap_workers reload stop wait_for_signals",
    glogging.Logger: "access access_log_enabled atoms debug error exception info now warning",
    gthread.PollableMethodQueue: "close defer fileno init run_callbacks",
    gthread.TConn: "close init",
    gthread.ThreadWorker: (
        "_cap_keepalive accept check_config get_thread_pool handle_error handle_exit init_process "
        "init_signals is_parent_alive murder_keepalived murder_pending notify run "
        "set_accept_enabled wait_for_and_dispatch_events"
    ),
    message.Request: "_peer_is_trusted_proxy force_close should_close",
    parser.RequestParser: "__next__ mesg_class",
    wsgi.Response: (
        "_emit_body close default_headers force_close send_headers should_close start_response "
        "write"
    ),
}
#: Attributes that the constructors set; for requests and arbiters, anywhere in the class.
OF_INSTANCES: dict[Any, str] = {
    gthread.TConn: "client server sock timeout",
    gthread.ThreadWorker: (
        "alive app cfg keepalived_conns log max_keepalived max_requests method_queue nr nr_conns "
        "pid poller sockets tmp tpool worker_connections"
    ),
    wsgi.Response: "chunked headers headers_sent req sent sock status version",
    glogging.Logger: "access_log cfg",
}
IN_SOURCES: dict[Any, str] = {
    arbiter.Arbiter: "LISTENERS WORKERS log master_pid num_workers reexec_pid systemd",
    message.Request: "_expected_100_continue method path peer_addr uri version",
    wsgi.Response: "status_code",
    gthread.ThreadWorker: "wsgi",
}


def new(cls: Any) -> Any:
    cfg = Config()
    log = glogging.Logger(cfg)
    if cls is gthread.ThreadWorker:
        worker = cls(1, os.getppid(), [], None, 30, cfg, log)
        worker.tmp.close()
        return worker
    if cls is gthread.TConn:
        return cls(cfg, type("Socket", (), {"setblocking": lambda *_: None})(), None, None)
    return log if cls is glogging.Logger else cls(None, None, cfg)


def missing_names() -> list[str]:
    found = {
        (cls, name): hasattr(cls, name)
        for cls, names in OF_CLASSES.items()
        for name in names.split()
    }
    for cls, names in OF_INSTANCES.items():
        instance = new(cls)
        found |= {(cls, name): hasattr(instance, name) for name in names.split()}
    for cls, names in IN_SOURCES.items():
        source = "".join(inspect.getsource(base) for base in cls.__mro__[:-1])
        found |= {(cls, name): f"self.{name}" in source for name in names.split()}
    return sorted(
        f"{cls.__module__}.{cls.__name__}.{name}"
        for (cls, name), is_there in found.items()
        if not is_there
    )


def test_gunicorn_has_every_name_that_we_use():
    missing = missing_names()
    assert not missing, f"gunicorn {__version__} lacks " + ", ".join(missing)


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (wsgi, "create", "req sock client server cfg response_class"),
        (gthread.TConn, "__init__", "self cfg sock client server"),
        (gthread.ThreadWorker, "_cap_keepalive", "self deadline"),
        (gthread.ThreadWorker, "handle_error", "self req client addr exc"),
        (gthread.ThreadWorker, "murder_keepalived", "self force"),
        (arbiter.Arbiter, "stop", "self graceful"),
        (arbiter.Arbiter, "wait_for_signals", "self timeout"),
        (glogging.Logger, "access", "self resp req environ request_time"),
    ],
)
def test_a_function_has_the_parameters_that_we_use(owner, name, parameters):
    found = [*inspect.signature(getattr(owner, name)).parameters]

    assert found[: len(parameters.split())] == parameters.split()
