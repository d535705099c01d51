"""How processes begin: settings, logs, an ear for SIGTERM, and a memory that is at rest."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Collection

from heap import share_one_heap
from logs import configure_logs
from output import drain, unblock
from settings import NEEDED, Settings, SettingsError


def begin(needs: Collection[str] = NEEDED) -> tuple[Settings, threading.Event]:
    """
    Return the settings, and an event that SIGTERM and SIGINT set.

    Exits with one line for each wrong setting. Settings in *needs* have no default.
    """
    share_one_heap()
    unblock()
    try:
        settings = Settings.from_env(needs=needs)
    except SettingsError as error:
        sys.exit(str(error))
    configure_logs(settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return settings, stop


def spare_what_is_loaded() -> None:
    """
    Have the garbage collector leave alone what is there now.

    It is there for good: 70,000 objects of modules, through which each full collection would go,
    for 26 ms in which nobody is answered.
    """
    gc.collect()
    gc.freeze()


def end_at_once(code: int) -> None:
    """End this process with *code*, whatever hangs in it, but with its last lines written."""
    drain()
    os._exit(code)
