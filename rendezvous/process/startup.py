"""Starts and ends a process: settings, logs, stop signals, garbage collector."""

import gc
import logging
import os
import platform
import signal
import sys
import threading
from collections.abc import Collection, Mapping

from rendezvous import __version__
from rendezvous.process.logs import configure_logs
from rendezvous.process.scheduling import do_not_preempt
from rendezvous.process.stdio import drain, make_output_nonblocking
from rendezvous.process.traces import tracing
from settings import REQUIRED, Settings, SettingsError

logger = logging.getLogger("rendezvous")

#: Variables that ask for traces; OTEL_TRACES_EXPORTER does too.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
#: Variables of which one value is supported.
_SUPPORTED = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
}


def start_process(required: Collection[str] = REQUIRED) -> tuple[Settings, threading.Event]:
    """
    Return the settings, and an event that SIGTERM and SIGINT set; log the version.

    Exits with one line for each wrong setting.

    Args:
        required: the settings without a default.
    """
    do_not_preempt()
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


class Tracing:
    """
    The tracer of this process, if OTEL_* variables ask for traces.

    Args:
        service: its name in traces; OTEL_SERVICE_NAME takes precedence.
        environ: the environment.
    """

    def __init__(self, service: str, environ: Mapping[str, str] = os.environ) -> None:
        self._service = service
        self._environ = environ

    def start(self) -> None:
        """Start it, after any fork; log why not, if it cannot be."""
        if not _asks_for_traces(self._environ):
            return
        for name, supported in _SUPPORTED.items():
            value = self._environ.get(name) or supported
            if value != supported:
                logger.error("%s=%s is not supported: no traces; set %s", name, value, supported)
                return
        try:
            from rendezvous.process.traces import open_telemetry
        except ImportError as error:
            logger.error(
                "OTEL_* variables ask for traces, but OpenTelemetry is not installed (%s): no "
                "traces; install requirements-tracing.txt",
                error,
            )
            return
        tracing.use(open_telemetry.start(self._service))

    def close(self) -> None:
        """Export the last spans."""
        tracing.tracer.close()
        tracing.use(tracing.NoTracer())


def _asks_for_traces(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environ.get("OTEL_TRACES_SAMPLER") == "always_off":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER")
    return exporter != "none" if exporter else any(map(environ.get, _ENDPOINTS))


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
