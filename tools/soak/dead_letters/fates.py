"""The fate of each numbered request: what its handler does with it."""

from enum import StrEnum
from random import Random

#: Longest time that a handler takes, in seconds: some are at work when the process is killed.
MAX_DELAY_S = 0.15
#: Shares of the requests in per cent; the others are answered at the first attempt.
FAILED_PERCENT, RETRIED_PERCENT, EXHAUSTED_PERCENT = 10.0, 10.0, 6.0
#: Number of record keys, so that requests wait behind others with their key.
KEYS = 20
RETRY_PAUSE_S = 0.1
#: RESPONDER_MAX_ATTEMPTS.
MAX_ATTEMPTS = 3


class Fate(StrEnum):
    """What becomes of a record, unless its deadline passes first."""

    ANSWERED = "answered"
    FAILED = "failed"  # its handler raises: dead-lettered
    RETRIED = "retried"  # its handler raises Retry once or twice: answered
    EXHAUSTED = "exhausted"  # its handler always raises Retry: dead-lettered
    MALFORMED = "malformed"  # it is no request: dead-lettered


def fate_of(seed: int, number: int) -> Fate:
    """Return the fate of the request with this number."""
    share = _random(seed, number).uniform(0, 100)
    for percent, fate in (
        (FAILED_PERCENT, Fate.FAILED),
        (RETRIED_PERCENT, Fate.RETRIED),
        (EXHAUSTED_PERCENT, Fate.EXHAUSTED),
    ):
        if share < percent:
            return fate
        share -= percent
    return Fate.ANSWERED


def retries_of(seed: int, number: int) -> int:
    """Return how often the handler raises Retry before it answers."""
    fate = fate_of(seed, number)
    if fate is Fate.EXHAUSTED:
        return MAX_ATTEMPTS
    return (
        _random(seed, number, "retries").randint(1, MAX_ATTEMPTS - 1) if fate is Fate.RETRIED else 0
    )


def delay_s_of(seed: int, number: int) -> float:
    """Return how long each call of the handler takes, in seconds."""
    return _random(seed, number, "delay").uniform(0, MAX_DELAY_S)


def _random(seed: int, number: int, purpose: str = "fate") -> Random:
    return Random(f"{seed}/{number}/{purpose}")
