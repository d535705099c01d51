"""Changes to gunicorn's arbiter, the master process: start, reload and fork."""

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

#: The signals by which gunicorn stops its workers.
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


_EVERY_IPV4, _EVERY_IPV6 = "0.0.0.0", "::"


def any_address() -> str:
    """
    Return the address to listen on for every client, in the form of gunicorn's ``bind``.

    An IPv6 socket serves IPv4 clients too, unless the machine has no IPv6 or keeps them apart.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((_EVERY_IPV6, 0))
            serves_both = not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        serves_both = False
    return f"[{_EVERY_IPV6}]" if serves_both else _EVERY_IPV4


def exit_if_port_is_unusable(port: int) -> None:
    """Exit with advice if *port* is unusable; gunicorn would retry and log errors."""
    is_ipv4 = any_address() == _EVERY_IPV4
    family = socket.AF_INET if is_ipv4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_EVERY_IPV4 if is_ipv4 else _EVERY_IPV6, port))
        except OSError as error:
            advice = {
                errno.EADDRINUSE: "another process listens there; stop it or choose another port",
                errno.EACCES: "this user may not listen there; choose a port from 1024 up",
            }.get(error.errno or 0, "choose another port")
            sys.exit(f"PORT={port} cannot be listened on: {error.strerror}; {advice}")


def refuse_invalid_reloads(server: Any, read_again: Callable[[], Sequence[str]]) -> None:
    """
    Let the arbiter *server* reload only if *read_again* returns no errors.

    gunicorn alone would exit, or start workers that cannot boot, again and again.
    """
    reload: Callable[[], None] = server.reload

    def reload_if_valid() -> None:
        errors = read_again()
        for error in errors:
            server.log.error("reload refused: %s", error)
        if not errors:
            reload()

    server.reload = reload_if_valid


def block_stop_signals_across_fork() -> None:
    """
    Hold stop signals from each fork until the worker calls unblock_stop_signals().

    Before it has installed its own signal handlers, a worker has the arbiter's: they put the signal
    into a queue that the worker never reads, so it would serve until it is killed.
    """
    unblock_stop_signals()  # a binary upgrade is a fork too, and its child inherits the mask
    os.register_at_fork(before=_block_stop_signals, after_in_parent=unblock_stop_signals)


def unblock_stop_signals() -> None:
    """Receive the held signals; call it when the signal handlers are installed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _block_stop_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
