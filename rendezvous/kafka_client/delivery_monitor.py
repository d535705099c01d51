"""Whether a producer still tells what becomes of what it is given."""


class DeliveryMonitor:
    """
    Counts the checks during which a result was due and none arrived.

    Counts checks rather than seconds: a process that was suspended makes no checks, so its
    producer is not taken for dead. Cheap enough for each request, and safe from several threads.
    """

    def __init__(self) -> None:
        self._owed = False
        self._heard = False
        self._silent_looks = 0

    def offered(self) -> None:
        """Note that a record was handed over, whose fate is owed from now on."""
        self._owed = True

    def heard(self) -> None:
        """Note that the fate of a record was told, whichever it is."""
        self._heard = True
        self._owed = False

    def look(self) -> int:
        """Return for how many looks in a row nothing was heard although something was owed."""
        self._silent_looks = 0 if self._heard or not self._owed else self._silent_looks + 1
        self._heard = False
        return self._silent_looks
