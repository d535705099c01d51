"""
Lets each request be handled once, as far as its journal reaches.

A journal in trouble fails closed: what cannot be looked up is not handled.
"""

import logging
import time
from collections.abc import Callable

from rendezvous.contract import Reply, Request
from rendezvous.errors import StoreUnavailable
from rendezvous.process.throttled_log import ThrottledLog
from responder.dedup.journal import InProgress, Journal

logger = logging.getLogger(__name__)

#: The pause before the journal is asked again.
JOURNAL_PAUSE_S = 0.1


class Deduplicator:
    """
    Stands between a worker and its handlers. Safe to use from several threads.

    Args:
        journal: what has been handled before.
        is_wanted: says whether it is still worth the wait to handle a request.
        count: is told "repeated" for each reply that came out of the journal.
    """

    def __init__(
        self,
        journal: Journal,
        is_wanted: Callable[[Request], bool],
        count: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._is_wanted = is_wanted
        self._count = count
        self._log = ThrottledLog(logger)

    def answer(self, request: Request, handle: Callable[[Request], Reply]) -> Reply | None:
        """
        Return the saved reply to *request*, or what *handle* returns, which is saved then.

        None when the request stopped being wanted before it could begin; *handle* has not run.
        """
        cid = request.correlation_id
        while self._is_wanted(request):
            try:
                saved = self._journal.begin(cid)
            except InProgress:
                self._log.info("%s: another delivery of it is being handled; waiting", cid)
            except StoreUnavailable as error:
                self._log.warning("%s: not handled, the journal cannot be asked (%s)", cid, error)
            else:
                if saved is None:
                    return self._handle(request, handle)
                self._count("repeated")
                return saved
            time.sleep(JOURNAL_PAUSE_S)
        return None

    def _handle(self, request: Request, handle: Callable[[Request], Reply]) -> Reply:
        try:
            return self._save(request, handle(request))
        finally:
            self._journal.end(request.correlation_id)

    def _save(self, request: Request, reply: Reply) -> Reply:
        """Save *reply* before anybody hears of it; give up when no delivery would run any more."""
        while True:
            try:
                return self._journal.save(request.correlation_id, reply)
            except StoreUnavailable as error:
                self._log.warning(
                    "%s: handled, but its reply is not saved (%s)", request.correlation_id, error
                )
            if not self._is_wanted(request):
                return reply
            time.sleep(JOURNAL_PAUSE_S)
