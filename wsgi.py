"""Entry point of `web`: the WSGI application; wrap `app` to add middleware."""

import sys

from gateway import config as configuration
from gateway.bootstrap import build
from gateway.lifecycle import register
from rendezvous.process.logs import configure_logs
from rendezvous.process.stdio import make_output_nonblocking

make_output_nonblocking()
try:
    configured = configuration.current()
except configuration.ConfigurationError as error:
    sys.exit(str(error))
configure_logs(configured.settings.log_format)
gateway = build(configured.settings, configured.routes, configured.api_keys)
register(gateway.lifecycle)
app = gateway.app
