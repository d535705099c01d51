"""
How gunicorn serves the gateway; every value with its reason.

Beware: GUNICORN_CMD_ARGS and command line options beat this file.
"""

import errno
import math
import os
import socket
import sys
from typing import Any

from gateway import config as configuration
from gateway import lifecycle as lifecycles
from gateway.server.access_log import ACCESS_LOG_FORMAT
from gateway.server.cpu_affinity import free_core, pin_to
from gateway.server.fork_signals import block_signals_across_fork
from gateway.server.shutdown import install_graceful_shutdown
from gateway.server.worker import Limits
from rendezvous.process.heap import use_one_arena
from rendezvous.process.startup import freeze_loaded_objects
from rendezvous.process.stdio import make_output_nonblocking

# Before there are threads, here or in a worker.
use_one_arena()
# Before gunicorn builds its loggers, which keep the streams that they find.
make_output_nonblocking()
# A wrong setting ends the start here, in the master, with one line each; in a worker it would come
# as a traceback, once per worker.
try:
    _configured = configuration.current()
except configuration.ConfigurationError as error:
    sys.exit(str(error))

_settings, _routes = _configured.settings, _configured.routes

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency
# gthread, except that clients cannot hold its threads.
worker_class = "gateway.server.worker.GatewayWorker"
# A waiting request holds a thread, so this is how many can wait.
threads = _settings.threads
# A connection holds no thread before its request is whole; this is how many may be slow, or idle.
worker_connections = _settings.threads + 256
# Only the heartbeat of a worker's main loop; the deadline of a request is the requester's affair.
timeout = 30
# Where the heartbeat goes, if there is memory for it: on a disk it would wait for the writes of
# others, and with it whoever sends a request.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
# Whoever waits when SIGTERM comes is still answered: the longest wait of any route, and a moment to
# write the answer.
_longest_wait_s = max(route.max_reply_timeout_s(_settings.reply_timeout_s) for route in _routes)
graceful_timeout = math.ceil(_longest_wait_s) + 2
# Longer than the 90 s for which Heroku's router keeps an idle connection: whoever closes first
# must not be us, or the router's next request on it fails.
keepalive = 95
# Kafka clients and threads do not survive a fork. The application copes with --preload all the
# same: it starts them in the process that serves.
preload_app = False
# Two gunicorns on one machine would share its default path.
control_socket_disable = True
accesslog = "-"
access_log_format = ACCESS_LOG_FORMAT
logger_class = f"gateway.server.access_log.{_settings.log_format.capitalize()}AccessLogger"


def on_starting(server: Any) -> None:
    """Say which setting to change when the port cannot be had; prepare reloads and the end."""
    server.ending = install_graceful_shutdown(server, _settings.drain_delay_s)
    configuration.validate_before_reload(server)
    block_signals_across_fork()
    if os.environ.get("GUNICORN_FD"):
        return  # a running gunicorn hands over its socket
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", _settings.port))
        except OSError as error:
            advice = {
                errno.EADDRINUSE: "another process listens there; stop it or choose another port",
                errno.EACCES: "this user may not listen there; choose a port from 1024 up",
            }.get(error.errno or 0, "choose another port")
            sys.exit(f"PORT={_settings.port} cannot be listened on: {error.strerror}; {advice}")


def pre_fork(server: Any, worker: Any) -> None:
    """Hand the worker what it cannot know: our settings, and how far the end of the server is."""
    worker.limits = Limits(_settings.max_body_bytes, _settings.request_read_timeout_s)
    worker.drain_delay_s = _settings.drain_delay_s
    worker.ending = server.ending
    worker.core = free_core((other.core for other in server.WORKERS.values()), server.num_workers)


def post_fork(server: Any, worker: Any) -> None:
    """Begin on the core that the worker keeps to."""
    if worker.core is None:
        return
    try:
        pin_to(worker.core)
    except OSError as error:  # a sandbox may forbid it
        worker.log.warning("worker %d runs on any core (%s)", worker.pid, error)
    else:
        worker.log.info("worker %d keeps to core %d", worker.pid, worker.core)


def post_worker_init(worker: Any) -> None:
    """Connect to Kafka and Redis before the first request, and tell the app when we stop."""
    lifecycle = lifecycles.registered()
    lifecycle.stopping = worker.ending.draining.is_set
    lifecycle.finishing = lambda: not worker.alive
    lifecycle.ensure_started()
    freeze_loaded_objects()
