"""Clients whose proxy shares connections to the gateway get their own responses."""

from pathlib import Path

import pytest

from tests.framing.behind_haproxy import NotAvailable, haproxy_and_gateway, through_haproxy

pytestmark = pytest.mark.integration

STREAMS = 300


def test_no_client_behind_haproxy_gets_the_response_of_another(tmp_path: Path):
    try:
        with haproxy_and_gateway(tmp_path) as port:
            victims, served = through_haproxy(port, STREAMS, 1)
    except NotAvailable:
        pytest.skip("haproxy is not installed")

    assert victims.wrong == []
    assert set(victims.seen) == {"200"}, victims.seen
    assert served > STREAMS / 4
