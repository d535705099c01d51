"""The names of gunicorn and waitress that gateway/server uses; most of them are undocumented."""

import inspect
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from gunicorn import arbiter, glogging
from gunicorn.config import Config
from gunicorn.workers import base
from waitress import channel, parser, receiver, rfc7230, server, task, trigger, utilities, wasyncore
from waitress.adjustments import Adjustments

from tests.unit.test_architecture import ROOT

#: What is read, called or overridden, by the class or module that has it.
USED: dict[Any, str] = {
    arbiter.Arbiter: (
        "LISTENERS WORKERS log manage_workers master_pid murder_workers reap_workers "
        "reexec_pid reload stop systemd wait_for_signals"
    ),
    base.Worker: (
        "age alive cfg handle_exit init_signals log max_requests notify nr pid ppid run sockets "
        "wsgi"
    ),
    glogging.Logger: (
        "access access_log access_log_enabled atoms atoms_wrapper_class cfg error error_fmt "
        "error_log exception info now setup warning"
    ),
    glogging: "SafeAtoms _gunicorn",
    wasyncore: "readwrite",
    server.BaseWSGIServer: (
        "_map accept accepting add_task channel_class del_channel fix_addr handle_accept "
        "readable set_socket_options socket trigger"
    ),
    server: "TcpWSGIServer UnixWSGIServer",
    trigger.trigger: "close pull_trigger",
    channel.HTTPChannel: (
        "addr adj close_when_flushed connected current_outbuf_count error_task_class handle_close "
        "handle_read handle_write parser_class readable received requests requests_lock "
        "send_continue sent_continue server service socket task_class total_outbufs_len "
        "will_close write_soon"
    ),
    task.ThreadedTaskDispatcher: (
        "active_count queue_logger set_thread_count shutdown start_new_thread threads"
    ),
    task.Task: (
        "build_response_header channel complete content_bytes_written content_length finish "
        "request response_headers service set_close_on_finish status version write "
        "wrote_header"
    ),
    task.WSGITask: "environ execute get_environment",
    task: "ErrorTask",
    parser.HTTPRequestParser: (
        "adj body_bytes_received body_rcv chunked command completed connection_close "
        "content_length error expect_continue fragment header_bytes_received headers "
        "headers_finished parse_header path proxy_netloc query received version"
    ),
    parser: "ParsingError",
    receiver.ChunkedReceiver: (
        "all_chunks_received buf chunk_remainder completed control_line getbuf received "
        "validate_chunk_end"
    ),
    utilities.Error: "body code reason",
    utilities: (
        "BadRequest RequestEntityTooLarge RequestHeaderFieldsTooLarge ServerNotImplemented"
    ),
    rfc7230: "CHUNK_EXT HEXDIG OBS_TEXT TCHAR VCHAR",
    Adjustments: (
        "clear_untrusted_proxy_headers ident inbuf_overflow log_socket_errors "
        "max_request_body_size max_request_header_size outbuf_high_watermark outbuf_overflow "
        "recv_bytes server_name"
    ),
}
NAMES = [(owner, name) for owner, names in USED.items() for name in names.split()]


@cache
def source_of(owner: Any) -> str:
    """Return the source of a module, or of a class and its bases."""
    owners = owner.__mro__[:-1] if inspect.isclass(owner) else [owner]
    return "".join(inspect.getsource(part) for part in owners if part is not Exception)


@cache
def our_source() -> str:
    return "".join(path.read_text() for path in Path(ROOT, "gateway/server").rglob("*.py"))


def has(owner: Any, name: str) -> bool:
    """Return whether *owner* has *name*, or sets it in an instance."""
    return hasattr(owner, name) or bool(re.search(rf"\.{name}\b(,|[^=\n]* =)", source_of(owner)))


def test_every_name_that_we_use_is_still_there():
    missing = [f"{owner.__name__}.{name}" for owner, name in NAMES if not has(owner, name)]
    versions = f"gunicorn {version('gunicorn')}, waitress {version('waitress')}"
    assert not missing, f"{', '.join(missing)} is missing in {versions}"


def test_no_name_is_listed_that_we_do_not_use():
    unused = [name for _, name in NAMES if not re.search(rf"\b{name}\b", our_source())]
    assert unused == []


def test_a_name_that_vanished_is_noticed():
    assert not any(has(owner, "no_such_name") for owner in USED)


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (arbiter.Arbiter, "stop", "self graceful"),
        (arbiter.Arbiter, "wait_for_signals", "self timeout"),
        (base.Worker, "__init__", "self age ppid sockets app timeout cfg log"),
        (base.Worker, "handle_exit", "self sig frame"),
        (glogging.Logger, "access", "self resp req environ request_time"),
        (glogging.Logger, "atoms", "self resp req environ request_time"),
        (channel.HTTPChannel, "__init__", "self server sock addr adj map"),
        (channel.HTTPChannel, "write_soon", "self data"),
        (server.BaseWSGIServer, "__init__", "self application map _start _sock dispatcher adj"),
        (task.ThreadedTaskDispatcher, "start_new_thread", "self target thread_no"),
        (task.Task, "__init__", "self channel request"),
        (trigger.trigger, "pull_trigger", "self thunk"),
        (wasyncore, "readwrite", "obj flags"),
    ],
)
def test_a_function_has_the_parameters_that_we_use(owner, name, parameters):
    found = [*inspect.signature(getattr(owner, name)).parameters]

    assert found[: len(parameters.split())] == parameters.split()


def test_gunicorn_has_the_settings_that_we_read():
    names = "forwarded_allow_ips graceful_timeout is_ssl keepalive proxy_protocol threads"
    cfg = Config()
    assert [name for name in names.split() if not hasattr(cfg, name)] == []
