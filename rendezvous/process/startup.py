"""How processes begin: settings, logs, an ear for SIGTERM, and a memory that is at rest."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Collection

from rendezvous.process.heap import use_one_arena
from rendezvous.process.logs import configure_logs
from rendezvous.process.stdio import drain, make_output_nonblocking
from settings import NEEDED, Settings, SettingsError


def begin(needs: Collection[str] = NEEDED) -> tuple[Settings, threading.Event]:
    """
    Return the settings, and an event that SIGTERM and SIGINT set.

    Exits with one line for each wrong setting. Settings in *needs* have no default.
    """
    use_one_arena()
    make_output_nonblocking()
    try:
        settings = Settings.from_env(needs=needs)
    except SettingsError as error:
        sys.exit(str(error))
    configure_logs(settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return settings, stop


def freeze_loaded_objects() -> None:
    """
    Have the garbage collector leave alone what is there now.

    It is there for good: 70,000 objects of modules, through which each full collection would go,
    for 26 ms in which nobody is answered.
    """
    gc.collect()
    gc.freeze()


def exit_now(code: int) -> None:
    """End this process with *code*, whatever hangs in it, but with its last lines written."""
    drain()
    os._exit(code)
