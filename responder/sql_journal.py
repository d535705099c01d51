"""Re-export of responder.dedup.sql_journal, for handlers that import it from here."""

from responder.dedup.sql_journal import *  # noqa: F403
