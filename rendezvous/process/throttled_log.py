"""A logger that logs each message at most once per interval."""

import logging
import time
from collections.abc import Mapping

#: Interval, in seconds, for a condition that lasts until a setting is changed.
HOURLY_S = 3_600.0
#: The fields of a line (log_fields.py), as logging takes them.
Extra = Mapping[str, object] | None


class ThrottledLog:
    """
    Logs each message at most once per *interval_s*, and counts the others.

    It prevents that records or errors which others cause fill the disk.
    """

    def __init__(self, logger: logging.Logger, interval_s: float = 1.0) -> None:
        self._logger = logger
        self._interval_s = interval_s
        self._next_s: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def info(self, message: str, *args: object, extra: Extra = None) -> None:
        """Log at INFO, unless *message* was logged within the interval."""
        self._log(logging.INFO, message, args, extra)

    def warning(self, message: str, *args: object, extra: Extra = None) -> None:
        """Log at WARNING, unless *message* was logged within the interval."""
        self._log(logging.WARNING, message, args, extra)

    def error(self, message: str, *args: object, extra: Extra = None) -> None:
        """Log at ERROR, unless *message* was logged within the interval."""
        self._log(logging.ERROR, message, args, extra)

    def _log(self, level: int, message: str, args: tuple[object, ...], extra: Extra) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s.get(message, 0.0):
            self._suppressed[message] = self._suppressed.get(message, 0) + 1
            return
        self._next_s[message] = now_s + self._interval_s
        suppressed = self._suppressed.pop(message, 0)
        self._logger.log(level, message, *args, extra=extra)
        if suppressed:
            self._logger.log(level, "last message repeated %d times", suppressed)
