"""A gthread worker that turns newcomers away while it finishes, instead of leaving them hanging."""

from gunicorn.workers.gthread import ThreadWorker


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """
    gthread, except at its end.

    Between SIGTERM and its exit gthread keeps its listening sockets open without accepting: new
    connections hang until the kernel resets them. This worker lets in those that are queued
    already, for the application to answer them with 503, and closes the sockets, so that later
    ones are refused at once and a load balancer turns to another replica.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting; for good when the worker is finishing."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                self._accept_queued(listener)
                listener.close()

    def _accept_queued(self, listener: object) -> None:
        before = -1
        while before != self.nr_conns:
            before = self.nr_conns
            self.accept(listener)
