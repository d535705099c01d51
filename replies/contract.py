"""Re-export of the wire contract, for handlers that import it from here."""

from rendezvous.contract import *  # noqa: F403
from rendezvous.reply_headers import *  # noqa: F403
