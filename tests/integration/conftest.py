"""Fixtures of several integration tests."""

import pytest

from gateway.exchange import poll_schedule


@pytest.fixture
def no_timed_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the timed polls so rare that only a notification can find a reply within a test."""
    monkeypatch.setattr(poll_schedule, "MAX_INTERVAL_S", 60.0)
    monkeypatch.setattr(poll_schedule, "TRIAL_S", 60.0)
