"""Records that become large when they are decompressed, and replies above MAX_REPLY_BYTES."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from tests.support.brokers import on_both_brokers
from tests.support.deployment import Deploy, Deployment, Process
from tests.support.reply_topic import ReplyTopic
from tests.support.scripted_responder import ScriptedResponder, correlation_id
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, on_both_brokers]

LIMIT_S = 20.0
MAX_REPLY_BYTES = 50_000
BOMB_BYTES = 100_000_000
#: How much a process may grow by the bombs: without limits, by several times BOMB_BYTES.
MAX_GROWTH_BYTES = 90_000_000


@pytest.fixture(scope="module")
def deployment(
    deploy_for_module: Deploy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    routes = tmp_path_factory.mktemp("routes") / "routes.toml"
    routes.write_text(
        Path("routes.toml").read_text(encoding="utf-8")
        + '\n[[route]]\npath = "/scripted/<case>"\ntopic = "scripted"\n'
    )
    env = {
        "ROUTES_FILE": str(routes),
        "MAX_REPLY_BYTES": str(MAX_REPLY_BYTES),
        "WEB_CONCURRENCY": "1",
        "REPLY_TIMEOUT_S": str(LIMIT_S),  # making a bomb takes seconds on a busy machine
    }
    with deploy_for_module(env=env, topics=("scripted",), partitions=1) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def compressing(deployment: Deployment) -> Iterator[KafkaProducer]:
    """A producer of batches that are small only while they are compressed."""
    connection = deployment.settings.kafka_connection()
    with closing(
        KafkaProducer(
            **connection,
            compression_type="gzip",
            max_request_size=2 * BOMB_BYTES,
        )
    ) as producer:
        yield producer


@pytest.fixture(scope="module")
def responder(deployment: Deployment, compressing: KafkaProducer) -> Iterator[ScriptedResponder]:
    def run(responder: ScriptedResponder, record: Any) -> None:
        cid = correlation_id(record)
        case = dict(record.headers)["path"].decode().rpartition("/")[2]
        kind, _, size = case.partition("-")
        headers = [("correlation-id", cid)]
        if kind == "plain":
            responder.reply(bytes(int(size)), headers)
            return
        topic = deployment.settings.prefixed(deployment.settings.reply_topic)
        key = cid if kind == "keyed" else b"another key"
        compressing.send(topic, bytes(int(size)), key=key, headers=headers).get(timeout=LIMIT_S)

    with ScriptedResponder.of(deployment, "scripted", run) as responder:
        yield responder


def peak_bytes(process: Process) -> int:
    """Return the largest resident memory that *process* ever had."""
    status = Path(f"/proc/{process.child.pid}/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (f"plain-{MAX_REPLY_BYTES + 1}", f"{MAX_REPLY_BYTES + 1} bytes"),
        (f"compressed-{MAX_REPLY_BYTES + 1}", f"{MAX_REPLY_BYTES + 1} bytes"),
        ("compressed-5000000", "5000000 bytes"),
        (f"keyed-{BOMB_BYTES}", "bytes decompressed"),
    ],
)
def test_a_reply_that_is_too_large_is_a_502(
    deployment: Deployment, responder: ScriptedResponder, case: str, reason: str
):
    response = deployment.gateway.post(f"/scripted/{case}", b"x")

    assert (response.status, response.json["type"]) == (502, "/problems/bad-reply"), response.body
    assert reason in response.json["detail"]
    assert response.json["sent"] == "yes"


@pytest.mark.parametrize("case", [f"plain-{MAX_REPLY_BYTES}", f"compressed-{MAX_REPLY_BYTES}"])
def test_a_reply_of_the_maximum_size_arrives(
    deployment: Deployment, responder: ScriptedResponder, case: str
):
    response = deployment.gateway.post(f"/scripted/{case}", b"x")

    assert (response.status, len(response.body)) == (200, MAX_REPLY_BYTES)


def test_bombs_stop_no_replies_process(deployment: Deployment, compressing: KafkaProducer):
    (replies,), settings = deployment.named("replies"), deployment.settings
    before = peak_bytes(replies)
    topic = settings.prefixed(settings.reply_topic)
    for _ in range(3):
        compressing.send(topic, bytes(BOMB_BYTES), key=b"k").get(timeout=LIMIT_S)

    assert deployment.gateway.post("/echo", b"good").body == b"good"
    assert peak_bytes(replies) - before < MAX_GROWTH_BYTES
    assert replies.child.returncode is None
    assert f"{topic}/0/" in replies.logged()
    assert "bytes decompressed" in replies.logged()
    with ReplyTopic(deployment) as reply_topic:
        reply_topic.wait_until_committed()


def test_bombs_stop_no_responder(deployment: Deployment, compressing: KafkaProducer):
    (responder,) = deployment.named("responder")
    before = peak_bytes(responder)
    topic = deployment.settings.prefixed("echo")
    for _ in range(3):
        compressing.send(topic, bytes(BOMB_BYTES), key=b"k").get(timeout=LIMIT_S)

    assert deployment.gateway.post("/echo", b"good").body == b"good"
    assert peak_bytes(responder) - before < MAX_GROWTH_BYTES
    assert wait_until(lambda: "bytes decompressed" in responder.logged(), LIMIT_S)
    assert f"{topic}/0/" in responder.logged()
