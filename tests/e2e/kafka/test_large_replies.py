"""Replies above the size limit of Kafka."""

import pytest

from tests.support.brokers import on_both_brokers
from tests.support.deployment import Deploy
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, on_both_brokers]

ROUTES = "[[route]]\npath = '/big'\ntopic = 'big'\n"


def test_a_reply_that_is_too_large_is_a_502_at_once_and_the_next_request_succeeds(deploy: Deploy):
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
        rejected = gateway.post("/big", b"")
        next_response = gateway.post("/big", b"small")

    assert (rejected.status, rejected.json["title"]) == (502, "Reply too large")
    assert rejected.json["correlation_id"] == rejected.correlation_id
    assert "2000000 bytes" in rejected.json["detail"]
    assert (next_response.status, next_response.body) == (200, b"small")
