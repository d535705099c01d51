"""SECRET_KEY is replaced under load; every request gets its own reply."""

import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import pytest

from tests.support.deployment import READY_LIMIT_S, Deploy, Deployment, Gateway, Process
from tests.support.load import OWN, Load
from tests.support.report import RecordProperty
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

ENV = {"REPLY_TIMEOUT_S": "10", "WEB_CONCURRENCY": "1", "REPLY_RETENTION_S": "300"}
OLD, NEW = secrets.token_hex(32), secrets.token_hex(32)
BEFORE = {"SECRET_KEY": OLD}
#: The second key is only accepted, never used for signing.
PREPARED = {"SECRET_KEY": OLD, "SECRET_KEY_OLD": NEW}
REPLACED = {"SECRET_KEY": NEW, "SECRET_KEY_OLD": OLD}
AFTER = {"SECRET_KEY": NEW}
#: Which processes get which keys, one by one in this order; see docs/guides/secure.md.
PROCEDURES: Mapping[str, Sequence[tuple[str, Mapping[str, str]]]] = {
    "replies first": [("replies", REPLACED), ("web", REPLACED), ("web", AFTER), ("replies", AFTER)],
    "any order": [
        ("web", PREPARED), ("replies", PREPARED), ("web", REPLACED), ("replies", REPLACED),
        ("replies", AFTER), ("web", AFTER),
    ],
}  # fmt: skip
KEY = {"Idempotency_Key": "one-request"}
SLOW_ORDER = json.dumps({"item": "tea", "quantity": 1, "delay_s": 60.0}).encode()


class Rotation:
    """The processes of *deployment* and a load on each of its gateways."""

    def __init__(self, deployment: Deployment, stack: ExitStack) -> None:
        self._deployment = deployment
        self._stack = stack
        self._loads: dict[int, Load] = {}
        self.finished: list[Load] = []
        for gateway in deployment.all_gateways:
            self._put_load_on(gateway)

    @property
    def gateways(self) -> list[Gateway]:
        return [each for each in self._deployment.all_gateways if each.port in self._loads]

    def replace_all(self, name: str, keys: Mapping[str, str]) -> None:
        """Replace each process called *name* by one with *keys*, under load."""
        if name == "web":
            for gateway in self.gateways:
                self._replace_gateway(gateway, keys)
        else:
            running = [
                each for each in self._deployment.named(name) if each.child.returncode is None
            ]
            for process in running:
                self._replace_process(process, keys)

    def wait_for_replies(self) -> None:
        for load in self._loads.values():
            load.wait_for(50)

    def end_load(self, gateway: Gateway) -> None:
        load = self._loads.pop(gateway.port)
        load.__exit__()
        self.finished.append(load)

    def _replace_process(self, process: Process, keys: Mapping[str, str]) -> None:
        successor = self._deployment.start(process.name, **keys)
        assert wait_until(lambda: "storing replies" in successor.logged(), READY_LIMIT_S)
        process.child.stop(10)
        self.wait_for_replies()

    def _replace_gateway(self, gateway: Gateway, keys: Mapping[str, str]) -> None:
        successor = self._deployment.start_gateway(**keys)
        is_ready = wait_until(lambda: successor.responds("/readyz"), READY_LIMIT_S)
        assert is_ready, successor.logged()
        self._put_load_on(successor)
        self.wait_for_replies()
        self.end_load(gateway)
        gateway.child.stop(20)

    def _put_load_on(self, gateway: Gateway) -> None:
        self._loads[gateway.port] = self._stack.enter_context(Load([gateway], 4, rate=50))


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_a_new_key_costs_no_reply_no_idempotency_key_and_no_cancellation(
    deploy: Deploy, procedure: str, record_property: RecordProperty
):
    options = {"gateways": 2, "replies": 2, "env": ENV | BEFORE}
    with deploy(**options) as deployment, ExitStack() as stack:
        rotation = Rotation(deployment, stack)
        rotation.wait_for_replies()
        first = rotation.gateways[0].post("/echo", b"effect", **KEY)
        assert first.status == 200

        for name, keys in PROCEDURES[procedure]:
            if keys is AFTER:
                continue
            slow = rotation.gateways[0].post("/orders", SLOW_ORDER, Prefer="respond-async, wait=0")
            rotation.replace_all(name, keys)
            # Each gateway, with either key, knows the requests of each other.
            for gateway in rotation.gateways:
                again = gateway.post("/echo", b"effect", **KEY)
                assert again.headers["Idempotent-Replayed"] == "true", (name, keys)
                fetched = gateway.get(f"/replies/{first.correlation_id}")
                assert (fetched.status, fetched.body) == (200, b"effect")
                assert gateway.get(f"/replies/{slow.correlation_id}").status == 202
            path = f"/replies/{slow.correlation_id}"
            assert rotation.gateways[-1].request("DELETE", path).status == 204

        logs = [process.logged() for process in deployment.named("replies")]

        # Here an operator waits until the replies of the old key have expired.
        for name, keys in PROCEDURES[procedure]:
            if keys is AFTER:
                rotation.replace_all(name, keys)
        gone = [each.get(f"/replies/{first.correlation_id}").status for each in rotation.gateways]
        for gateway in rotation.gateways:
            rotation.end_load(gateway)

    outcomes = {name for load in rotation.finished for name in load.outcomes}
    record_property("requests", sum(len(load.attempts) for load in rotation.finished))
    record_property("slowest s", max(load.slowest_s for load in rotation.finished))
    assert outcomes == {OWN}
    assert gone == [404, 404]
    assert not [log for log in logs if "foreign" in log]
