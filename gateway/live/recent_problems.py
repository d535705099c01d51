"""The last problems that this process has answered with."""

from collections import deque
from typing import Any

from gateway.problems import Problem
from rendezvous.correlation import epoch_ms

SIZE = 20


class RecentProblems:
    """The last SIZE problems. Safe to use from several threads."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=SIZE)

    def add(self, problem: Problem, route: str, client: str) -> None:
        """
        Add the *problem* of a request.

        Args:
            route: method and path as in routes.toml.
            client: the name of its client; empty without API keys.
        """
        correlation_id = problem.correlation_id or ""
        self._entries.append(
            {
                "time_ms": epoch_ms(),
                "type": problem.kind,
                "status": problem.status,
                "route": route,
                "sent": problem.sent or "",
                "client": client,
                # Without its signature, by which it would be a key to the reply. Logs have the
                # whole id, which begins with this.
                "correlation_id": correlation_id.rpartition(".")[0],
            }
        )

    def entries(self) -> list[dict[str, Any]]:
        """Return the problems, oldest first."""
        return list(self._entries)
