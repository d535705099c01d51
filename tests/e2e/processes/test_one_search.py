"""One search for a correlation id finds a failed request in the logs of all three processes."""

import json

import pytest

from rendezvous.process.log_fields import FIELDS
from tests.support.deployment import Deploy, Process, Response
from tools.devstack.waiting import wait_until

BOMB = json.dumps({"item": "bomb", "quantity": 1}).encode()
SLOW = json.dumps({"item": "book", "quantity": 1, "delay_s": 1.5}).encode()
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {
    "X-Request-ID": "order-7",
    "traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01",
    "X-Forwarded-For": "203.0.113.7",
}
LIMIT_S = 5


def lines_about(response: Response, process: Process) -> list[str]:
    """Return the lines of *process* about *response*, once there are some."""

    def found() -> list[str]:
        return [line for line in process.logged().splitlines() if response.correlation_id in line]

    assert wait_until(lambda: bool(found()), LIMIT_S), process.logged()
    return found()


def fields_of(line: str) -> dict[str, str]:
    """Return the fields of a line, text or JSON, as text."""
    if line.startswith("{"):
        return {k: str(v) for k, v in json.loads(line).items() if k in FIELDS and v is not None}
    pairs = (part.partition("=") for part in line.split(" ") if "=" in part)
    return {name: value for name, _, value in pairs if name in FIELDS and value != "-"}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_failed_request_is_in_each_log_under_the_same_names(deploy: Deploy, log_format: str):
    with deploy(env={"LOG_FORMAT": log_format, "REPLY_TIMEOUT_S": "1"}) as deployment:
        gateway, prefix = deployment.gateway, deployment.prefix
        (responder,), (replies,) = deployment.named("responder"), deployment.named("replies")
        failed = gateway.request("POST", "/orders", BOMB, HEADERS)
        late = gateway.request("POST", "/orders", SLOW, HEADERS)
        assert (failed.status, late.status) == (500, 503)
        of_reply = fields_of(lines_about(failed, replies)[0])
        handled = fields_of(lines_about(failed, responder)[0])
        access = fields_of(lines_about(failed, gateway)[-1])
        assert "s after the deadline" in lines_about(late, replies)[0]
        late_lines = lines_about(late, gateway)

    common = {"correlation_id": failed.correlation_id}
    of_request = {"request_id": "order-7", "trace_id": TRACE_ID, "topic": f"{prefix}orders"}
    assert of_reply == common | {"topic": f"{prefix}replies"}
    assert handled.pop("duration_ms").isdigit()
    assert handled == common | of_request
    assert access.pop("duration_ms").isdigit()
    assert access == common | of_request | {"route": "/orders", "forwarded_for": "203.0.113.7"}
    assert [fields_of(line).get("problem_type") for line in late_lines] == ["reply-timeout"] * 2
    assert [fields_of(line).get("sent") for line in late_lines] == ["yes"] * 2
