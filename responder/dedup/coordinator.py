"""
Deduplicator: handles each request once, as far as its journal remembers.

It fails closed: while the journal does not answer, no request is handled.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from rendezvous.contract import Reply, Request
from rendezvous.errors import StoreUnavailable
from rendezvous.process.counts import OutcomeCounts
from rendezvous.process.log_fields import request_fields
from rendezvous.process.throttled_log import ThrottledLog
from responder.attempts import Postponed
from responder.dedup.journal import InProgress, Journal

logger = logging.getLogger(__name__)

#: The pause before the journal is queried again, in seconds.
JOURNAL_PAUSE_S = 0.1


class Deduplicator:
    """
    Wraps handlers with a journal. Safe to use from several threads.

    Args:
        may_begin: returns whether a request may still be handled, also when it is redelivered.
        counts: where each reply from the journal is counted as "repeated".
    """

    def __init__(
        self, journal: Journal, may_begin: Callable[[Request], bool], counts: OutcomeCounts
    ) -> None:
        self._journal = journal
        self._may_begin = may_begin
        self._counts = counts
        self._log = ThrottledLog(logger)

    def answer(
        self, request: Request, handle: Callable[[Request], Reply], *, is_claimed: bool = False
    ) -> Reply | None:
        """
        Return the saved reply to *request*, or what *handle* returns, which is saved.

        None when the request may not begin any more; *handle* has not run. When *handle* raises
        Postponed, the claim on the request lasts until the next call, or end_claim().

        Args:
            is_claimed: by an earlier call, for which *handle* raised Postponed.
        """
        cid = request.correlation_id
        while self._may_begin(request):
            try:
                saved = None if is_claimed else self._journal.begin(request.journal_id)
            except InProgress:
                self._log.info(
                    "another delivery of it is being handled; waiting",
                    extra=request_fields(request),
                )
            except StoreUnavailable as error:
                self._log.warning(
                    "not handled, the journal does not answer (%s)",
                    error,
                    extra=request_fields(request),
                )
            else:
                if saved is None:
                    return self._handle(request, handle)
                self._counts.add("repeated", request.topic)
                return replace(saved, correlation_id=cid)
            time.sleep(JOURNAL_PAUSE_S)
        return None

    def end_claim(self, request: Request) -> None:
        """Note that *request*, whose handling was postponed, is not handled again."""
        self._journal.end(request.journal_id)

    def _handle(self, request: Request, handle: Callable[[Request], Reply]) -> Reply:
        try:
            reply = self._save(request, handle(request))
        except Postponed:
            raise
        except BaseException:
            self._journal.end(request.journal_id)
            raise
        self._journal.end(request.journal_id)
        return reply

    def _save(self, request: Request, reply: Reply) -> Reply:
        """Save *reply* before publication; give up at shutdown or past the deadline."""
        while True:
            try:
                journal_id = request.journal_id
                saved = self._journal.save(journal_id, replace(reply, correlation_id=journal_id))
                return replace(saved, correlation_id=request.correlation_id)
            except StoreUnavailable as error:
                self._log.warning(
                    "handled, but its reply is not saved (%s)",
                    error,
                    extra=request_fields(request),
                )
            if not self._may_begin(request):
                return reply
            time.sleep(JOURNAL_PAUSE_S)
