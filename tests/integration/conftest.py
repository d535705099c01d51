"""What several of these tests stand on."""

import pytest

from gateway.exchange import poll_schedule as looks


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody be found by looks alone in the time of a test."""
    monkeypatch.setattr(looks, "MAX_PAUSE_S", 60.0)
    monkeypatch.setattr(looks, "TRIAL_S", 60.0)
