"""A reply that Kafka does not take is told at once, and holds up nobody."""

import pytest

from tests.support.brokers import on_both_brokers
from tests.support.deployment import Deploy
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, on_both_brokers]

ROUTES = "[[route]]\npath = '/big'\ntopic = 'big'\n"


def test_a_reply_that_is_too_large_is_a_502_and_the_next_one_is_answered(
    deploy: Deploy,
):
    with deploy(responders=0, topics=("big",)) as deployment:
        file = deployment.folder / "routes.toml"
        file.write_text(ROUTES)
        deployment.start("responder", "python -m tests.e2e.kafka.large_reply_responder")
        gateway = deployment.start_gateway(ROUTES_FILE=str(file))

        def is_answering() -> bool:
            try:
                return gateway.post("/big", b"x").body == b"x"
            except OSError:
                return False

        assert wait_until(is_answering, 30), deployment.logs()
        refused = gateway.post("/big", b"")
        next_one = gateway.post("/big", b"small")

    assert (refused.status, refused.json["title"]) == (502, "Reply too large")
    assert refused.json["correlation_id"] == refused.correlation_id
    assert "2000000 bytes" in refused.json["detail"]
    assert (next_one.status, next_one.body) == (200, b"small")
