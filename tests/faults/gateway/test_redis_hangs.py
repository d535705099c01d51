"""Redis hangs for 10 s, or is unreachable for the replies process only."""

import time

import pytest

from tests.e2e.redis.test_redis_outage import TIMEOUT_S, check_hang
from tests.support.brokers import on_apache_kafka, on_embedded_broker
from tests.support.deployment import Deploy
from tests.support.reply_topic import ReplyTopic, fetched
from tests.support.report import RecordProperty
from tools.devstack.tcp_proxy import TcpProxy
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

HANG_S = 10.0
PARTITION_S = 20.0
DRAIN_S = 5.0


@on_embedded_broker
def test_a_hang_of_ten_seconds_is_reported_at_once_and_recovered_from(deploy: Deploy):
    env = {
        "REPLY_TIMEOUT_S": str(TIMEOUT_S),
        "WEB_CONCURRENCY": "1",
        "REPLY_DELIVERY": "store",
    }
    with deploy(env=env) as deployment:
        check_hang(deployment, HANG_S)


@on_apache_kafka  # it reports group members
def test_a_replies_process_without_redis_pauses_and_stays_in_its_group(
    deploy: Deploy, record_property: RecordProperty
):
    with (
        deploy(replies=0, responders=0, gateways=0) as deployment,
        TcpProxy(deployment.redis.port) as proxy,
        ReplyTopic(deployment) as topic,
    ):
        process = deployment.start("replies", REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
        replies = topic.put_many(50)
        assert wait_until(lambda: topic.committed() == 50, 30), process.logged()
        members = topic.members()
        proxy.blackhole()
        cut_s = time.monotonic()
        lag = []
        while time.monotonic() < cut_s + PARTITION_S:
            replies |= topic.put_many(50)
            assert topic.committed() == 50
            assert topic.members() == members
            lag.append(len(replies) - 50)
            time.sleep(0.2)
        proxy.heal()
        healed_s = time.monotonic()
        assert wait_until(lambda: topic.committed() == len(replies), DRAIN_S)
        drained_s = time.monotonic() - healed_s
        gateway = deployment.start_gateway()
        assert wait_until(gateway.responds, 30)

        assert fetched(gateway, replies) == replies
        assert topic.members() == members
        assert process.child.returncode is None
    record_property("lag", lag[-1])
    record_property("drained within s", drained_s)
