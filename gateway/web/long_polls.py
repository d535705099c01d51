"""Waiting once more for the reply to an earlier request, whichever process made it."""

from collections.abc import Callable

from gateway.clients.admission import Admission
from gateway.clients.client import ANONYMOUS, Client
from gateway.exchange.requester import Requester
from gateway.problems import Overloaded, TooManyInFlight
from rendezvous.contract import Reply

#: The longest that a client may wait in one call; platforms cut off what is silent for 30 s.
LONGEST_S = 25.0
#: So much of the places of this process may be held by those who wait again.
SHARE = 0.5


class LongPolls:
    """
    Lets clients wait for replies as far as there is room, and leaves room for requests.

    Args:
        requester: knows what arrives in this process.
        admission: of the requests, with which they share the places.
        is_finishing: says whether this process ends and has no time for them.
    """

    def __init__(
        self, requester: Requester, admission: Admission, is_finishing: Callable[[], bool]
    ) -> None:
        self._requester = requester
        self._admission = admission
        self._share = Admission(max(1, int(admission.max_in_flight * SHARE)))
        self._is_finishing = is_finishing

    def wait(
        self, correlation_id: str, wait_s: float, client: Client = ANONYMOUS
    ) -> tuple[Reply | None, bool]:
        """
        Return the reply to *correlation_id* if it comes in time, and whether it was waited for.

        Args:
            wait_s: how long to wait; not at all without room, less when this process finishes.
            client: who waits; its share of the places counts here too.

        Raises:
            NotSent: when the request turns out to be refused.
        """
        try:
            with self._share.admit(client), self._admission.admit(client):
                reply = self._requester.wait_again(correlation_id, wait_s, self._is_finishing)
                return reply, reply is not None or not self._is_finishing()
        except (Overloaded, TooManyInFlight):
            return None, False
