"""Re-export of rendezvous.contract, for handlers that import it from here."""

from rendezvous.contract import *  # noqa: F403
