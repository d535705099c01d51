"""
gunicorn's settings for the gateway; every value with its reason.

GUNICORN_CMD_ARGS and command line options override this file.
"""

import math
import os
import platform
import sys
import tempfile
from typing import Any

from gateway import config as configuration
from gateway import lifecycle as lifecycles
from gateway.server import arbiter, cpu_affinity
from gateway.server.access_log import ACCESS_LOG_FORMAT
from gateway.server.connection_counts import ConnectionCounts
from gateway.server.http.refusals import Limits
from gateway.server.request_queue import QueueLimits
from gateway.server.shutdown import install_graceful_shutdown
from gateway.server.worker_metrics import worker_metrics
from rendezvous import __version__
from rendezvous.process.monitoring.push import asks_for_push
from rendezvous.process.scheduling import do_not_preempt
from rendezvous.process.startup import freeze_loaded_objects
from rendezvous.process.stdio import make_output_nonblocking

# Before gunicorn builds its loggers, which keep the streams that they find.
make_output_nonblocking()
# A wrong setting ends the start here, in the master, with one line per error; in a worker it would
# be a traceback, once per worker.
try:
    _configured = configuration.current()
except configuration.ConfigurationError as error:
    sys.exit(str(error))

_settings, _routes = _configured.settings, _configured.routes

# Networks of IPv6 alone exist too.
bind = f"{arbiter.any_address()}:{_settings.port}"
workers = _settings.web_concurrency
# waitress inside of a gunicorn worker: clients cannot hold its threads.
worker_class = "gateway.server.worker.GatewayWorker"
# A pending request holds a thread, so this is the maximum number of pending requests.
threads = _settings.threads
# A connection holds no thread before its request has a slot: beside those that wait for one, 256
# may be slow or idle.
worker_connections = _settings.threads + _settings.queue_length + 256
# Maximum age of the heartbeat of a worker's main loop; request deadlines are the requester's.
timeout = 30
# The heartbeat is a file: on a disk it would wait for the writes of other programs, and the
# worker's requests with it.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
if worker_tmp_dir is None:
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        sys.exit(
            "no folder for temporary files can be written; set TMPDIR to one, or mount /dev/shm"
        )
# prometheus_client reads the variable when it is imported, as the worker class does below.
_metrics = worker_metrics(
    _settings.metrics_port,
    _settings.log_format,
    worker_tmp_dir,
    are_pushed=asks_for_push(os.environ),
)
if _metrics is not None:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics.folder)
# Requests that are pending at SIGTERM are still answered: the longest timeout of any route, and
# two seconds to write the responses.
_longest_timeout_s = max(route.max_reply_timeout_s(_settings.reply_timeout_s) for route in _routes)
graceful_timeout = math.ceil(_longest_timeout_s) + 2
# Longer than the 90 s for which Heroku's router keeps an idle connection: if we closed first, the
# router's next request on it would fail.
keepalive = 95
# Each worker imports the application, so that a reload takes new code. --preload works too: parts
# with threads or Kafka clients, which do not survive a fork, start in the worker.
preload_app = False
# Two gunicorns on one machine would share the default path of the control socket.
control_socket_disable = True
# Standard output, where the platform collects the logs of all processes.
accesslog = "-"
access_log_format = ACCESS_LOG_FORMAT
logger_class = f"gateway.server.access_log.{_settings.log_format.capitalize()}AccessLogger"


def on_starting(server: Any) -> None:
    """Log the version; prepare shutdown, reloads and forks; exit if the port is unusable."""
    server.log.info("version %s, Python %s", __version__, platform.python_version())
    if not _settings.redis_url:
        server.log.warning(
            "REDIS_URL is not set: replies reach only the clients that wait for them; idempotency "
            "keys, respond-async and /replies are not available, and rates count per process"
        )
    server.shutdown_state = install_graceful_shutdown(server, _settings.drain_delay_s)
    server.connection_counts = ConnectionCounts(_settings.web_concurrency)
    arbiter.refuse_invalid_reloads(server, configuration.read_again)
    arbiter.block_stop_signals_across_fork()
    if _metrics is not None:
        _metrics.supervise(server)
    if not {"GUNICORN_FD", "LISTEN_FDS"} & os.environ.keys():  # else the socket is inherited
        arbiter.exit_if_port_is_unusable(_settings.port)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker our settings, what all workers share, and its core."""
    worker.limits = Limits(
        _settings.max_body_bytes, _settings.request_read_timeout_s, _settings.max_reply_bytes
    )
    worker.queue_limits = QueueLimits(_settings.queue_length, _settings.queue_share)
    worker.drain_delay_s = _settings.drain_delay_s
    worker.shutdown_state = server.shutdown_state
    worker.connection_counts = server.connection_counts
    worker.core = cpu_affinity.core_for_new_worker(server) if _settings.cpu_affinity else None


def post_fork(server: Any, worker: Any) -> None:
    """Pin the worker before it does anything else."""
    do_not_preempt()
    cpu_affinity.keep_on_core(worker)


def post_worker_init(worker: Any) -> None:
    """Connect to Kafka and Redis before the first request."""
    lifecycle = lifecycles.registered()
    lifecycle.stopping = worker.shutdown_state.draining.is_set
    lifecycle.finishing = lambda: not worker.alive
    worker.slot_rules = lifecycle.slot_rules
    worker.admits_body = lifecycle.admits_body
    lifecycle.ensure_started()
    freeze_loaded_objects()
