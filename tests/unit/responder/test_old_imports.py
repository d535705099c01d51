"""Imports in handlers that were written for earlier versions."""

import rendezvous.contract
import rendezvous.reply_headers
import responder.dedup.sql_journal
from replies.contract import MAX_HEADER_BYTES, Reply, Request
from responder.sql_journal import CREATE_TABLE_SQLITE, SqlJournal


def test_the_earlier_modules_export_the_same_objects():
    assert Reply is rendezvous.contract.Reply
    assert Request is rendezvous.contract.Request
    assert MAX_HEADER_BYTES is rendezvous.reply_headers.MAX_HEADER_BYTES
    assert SqlJournal is responder.dedup.sql_journal.SqlJournal
    assert CREATE_TABLE_SQLITE is responder.dedup.sql_journal.CREATE_TABLE_SQLITE
