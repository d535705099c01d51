"""Starts and ends a process: settings, logs, stop signals, garbage collector."""

import gc
import logging
import os
import platform
import signal
import sys
import threading
from collections.abc import Collection

from rendezvous import __version__
from rendezvous.process.logs import configure_logs
from rendezvous.process.stdio import drain, make_output_nonblocking
from settings import REQUIRED, Settings, SettingsError

logger = logging.getLogger("rendezvous")


def start_process(required: Collection[str] = REQUIRED) -> tuple[Settings, threading.Event]:
    """
    Return the settings, and an event that SIGTERM and SIGINT set; log the version.

    Exits with one line for each wrong setting.

    Args:
        required: the settings without a default.
    """
    make_output_nonblocking()
    try:
        settings = Settings.from_env(required=required)
    except SettingsError as error:
        sys.exit(str(error))
    configure_logs(settings.log_format)
    logger.info("version %s, Python %s", __version__, platform.python_version())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return settings, stop


def freeze_loaded_objects() -> None:
    """
    Exclude all objects that exist now from garbage collection.

    They are the 70,000 objects of the loaded modules; each full collection would traverse them,
    which stops the process for 26 ms.
    """
    gc.collect()
    gc.freeze()


def exit_now(code: int) -> None:
    """Write the last log lines and end this process, even if threads hang."""
    drain()
    os._exit(code)
