"""gunicorn's gthread worker as the gateway needs it."""

from gunicorn.workers.gthread import ThreadWorker


class GatewayWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """
    gthread, except that a worker which finishes lets go of the listening sockets at once.

    gthread keeps them open until it exits. Others accept from them, or else the arbiter turns
    newcomers away (see gateway.draining) and then has to be the last to close them.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting; for good when the worker is finishing."""
        super().set_accept_enabled(enabled)
        if not (enabled or self.alive):
            for listener in self.sockets:
                listener.close()
