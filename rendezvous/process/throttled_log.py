"""A log that says the same kind of thing once a second at most, and how often it did not."""

import logging
import time

#: The pause for what stays as it is until somebody changes a setting: it is tried again and again,
#: and need not be told as often.
SELDOM_S = 3_600.0


class ThrottledLog:
    """
    Forwards to *logger*, at most one line per *pause_s* and kind of message.

    Records that strangers write must not fill the disk.
    """

    def __init__(self, logger: logging.Logger, pause_s: float = 1.0) -> None:
        self._logger = logger
        self._pause_s = pause_s
        self._next_s: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def info(self, message: str, *args: object) -> None:
        """Log at INFO, unless the same message was logged just now."""
        self._log(logging.INFO, message, args)

    def warning(self, message: str, *args: object) -> None:
        """Log at WARNING, unless the same message was logged just now."""
        self._log(logging.WARNING, message, args)

    def error(self, message: str, *args: object) -> None:
        """Log at ERROR, unless the same message was logged just now."""
        self._log(logging.ERROR, message, args)

    def _log(self, level: int, message: str, args: tuple[object, ...]) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s.get(message, 0.0):
            self._held_back[message] = self._held_back.get(message, 0) + 1
            return
        self._next_s[message] = now_s + self._pause_s
        held_back = self._held_back.pop(message, 0)
        self._logger.log(level, message, *args)
        if held_back:
            self._logger.log(level, "%d more like the one before", held_back)
