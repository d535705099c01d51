"""Fixtures of several integration tests."""

import pytest

from gateway.exchange import poll_schedule


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make polls so rare that only a notification finds a reply in the time of a test."""
    monkeypatch.setattr(poll_schedule, "MAX_INTERVAL_S", 60.0)
    monkeypatch.setattr(poll_schedule, "TRIAL_S", 60.0)
