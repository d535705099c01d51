"""The options of routes.toml over HTTP, and python -m gateway.check."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import Deployment
from tests.support.records import records_of
from tests.support.scripted_responder import ScriptedResponder, correlation_id
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

DEFAULT_S = 1.0
PATIENT_S = 8.0
DELAY_S = 4.0  # longer than the default timeout and the 2 s that a shutdown adds
ROUTES = f"""
[[route]]
path = "/echo"
topic = "echo"

[[route]]
path = "/orders"
topic = "orders"

[[route]]
path = "/patient"
topic = "orders"
timeout_s = {PATIENT_S}

[[route]]
path = "/small"
topic = "echo"
max_body_bytes = 100

[[route]]
path = "/checked"
topic = "scripted"
schema = "order.json"

[[route]]
path = "/session"
topic = "scripted"
response_headers = ["Set-Cookie"]

[[route]]
path = "/no-session"
topic = "scripted"
"""
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"item": {"type": "string"}, "quantity": {"$ref": "#/$defs/quantity"}},
    "required": ["item", "quantity"],
    "$defs": {"quantity": {"type": "integer", "minimum": 1}},
}
SLOW_ORDER = json.dumps({"item": "tea", "quantity": 1, "delay_s": DELAY_S}).encode()


@pytest.fixture(scope="module")
def deployment(
    kafka: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("routes-file")
    (folder / "routes.toml").write_text(ROUTES)
    (folder / "order.json").write_text(json.dumps(SCHEMA))
    env = {
        "REPLY_TIMEOUT_S": str(DEFAULT_S),
        "ROUTES_FILE": str(folder / "routes.toml"),
        "WEB_CONCURRENCY": "1",
    }
    with Deployment(
        kafka, redis_server, folder, env=env, topics=("scripted",), partitions=1
    ) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def responder(deployment: Deployment) -> Iterator[ScriptedResponder]:
    """A responder that replies with cookies and hop-by-hop headers."""

    def play(responder: ScriptedResponder, record: Any) -> None:
        responder.reply(
            b"body",
            [
                ("correlation-id", correlation_id(record)),
                ("Set-Cookie", b"session=1; HttpOnly"),
                ("set-cookie", b"theme=dark"),
                ("www-authenticate", b"Basic"),
                ("connection", b"upgrade"),
                ("keep-alive", b"timeout=7777"),
                ("x-any", b"1"),
            ],
        )

    with ScriptedResponder.of(deployment, "scripted", play) as responder:
        yield responder


def test_each_route_has_its_own_timeout(deployment: Deployment):
    with ThreadPoolExecutor(2) as clients:
        patient = clients.submit(deployment.gateway.post, "/patient", SLOW_ORDER)
        usual = clients.submit(deployment.gateway.post, "/orders", SLOW_ORDER)

    assert patient.result().status == 201
    assert patient.result().elapsed_s > DELAY_S
    assert usual.result().json["type"] == "/problems/reply-timeout"
    assert usual.result().elapsed_s < DELAY_S


def test_a_shutdown_waits_for_the_route_with_the_longest_timeout(deployment: Deployment):
    gateway = deployment.start_gateway()
    deployment.wait_until_ready()
    before = len(records_of(deployment, "orders"))
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(gateway.post, "/patient", SLOW_ORDER)
        assert wait_until(lambda: len(records_of(deployment, "orders")) > before, DELAY_S)
        gateway.child.terminate()

        assert waiting.result().status == 201
    assert gateway.child.wait(PATIENT_S) == 0
    deployment.processes.remove(gateway)


def test_in_broadcast_mode_a_new_reader_reads_replies_as_old_as_the_longest_timeout(
    kafka: Server, redis_server: Server, tmp_path: Path
):
    """
    Not only as old as the default timeout.

    The embedded broker has no offsets by time; with it, everything is read anyway.
    """
    (tmp_path / "routes.toml").write_text(ROUTES.replace(f"{PATIENT_S}", "25"))
    (tmp_path / "order.json").write_text(json.dumps(SCHEMA))
    env = {
        "REPLY_TIMEOUT_S": str(DEFAULT_S),
        "REPLY_RETENTION_S": "0",
        "REPLIES_MODE": "broadcast",
        "ROUTES_FILE": str(tmp_path / "routes.toml"),
        "WEB_CONCURRENCY": "1",
    }
    with (
        Deployment(
            kafka, redis_server, tmp_path, env=env, topics=("scripted",), partitions=1
        ) as deployment,
        ThreadPoolExecutor(1) as clients,
    ):
        deployment.named("replies")[0].child.stop(10)
        before = len(records_of(deployment, "replies"))
        order = b'{"item": "tea", "quantity": 1}'
        waiting = clients.submit(deployment.gateway.post, "/patient", order)
        assert wait_until(lambda: len(records_of(deployment, "replies")) > before, 10)
        replied_ms = records_of(deployment, "replies")[-1].timestamp
        too_old_ms = replied_ms + (DEFAULT_S + 1) * 1000
        assert wait_until(lambda: time.time() * 1000 > too_old_ms, 10)
        deployment.start("replies")

        assert waiting.result().status == 201


def test_a_body_above_the_limit_of_its_route_is_413_and_accepted_by_another_route(
    deployment: Deployment,
):
    refused = deployment.gateway.post("/small", bytes(101))

    assert (refused.status, refused.json["type"]) == (413, "/problems/too-large")
    assert refused.json["sent"] == "no"
    assert deployment.gateway.post("/small", bytes(100)).body == bytes(100)
    assert deployment.gateway.post("/echo", bytes(101)).body == bytes(101)


def test_a_client_that_sends_a_whole_large_body_before_it_reads_gets_the_413(
    deployment: Deployment,
):
    """The body exceeds the socket buffers and four times the limit of the route."""
    response = deployment.gateway.post("/small", bytes(800_000))

    assert (response.status, response.json["type"]) == (413, "/problems/too-large")


def test_an_invalid_body_is_400_and_not_published(
    deployment: Deployment, responder: ScriptedResponder
):
    good = b'{"item": "tea", "quantity": 1}'
    bad = [b'{"item": "tea", "quantity": 0}', b"item=tea", b"", b"[" * 100_000]

    responses = [deployment.gateway.post("/checked", body) for body in bad]
    accepted = deployment.gateway.post("/checked", good)

    assert [response.status for response in responses] == [400] * len(bad)
    assert {response.json["type"] for response in responses} == {"/problems/invalid-body"}
    assert {response.json["sent"] for response in responses} == {"no"}
    assert responses[0].json["faults"] == [{"path": "/quantity", "fault": "expected 1 or more"}]
    assert (accepted.status, accepted.body) == (200, b"body")
    published = {record.value for record in records_of(deployment, "scripted")}
    assert good in published
    assert not published & set(bad)


def test_cookies_are_returned_only_by_the_route_that_lists_them(
    deployment: Deployment, responder: ScriptedResponder
):
    listed = deployment.gateway.post("/session")
    unlisted = deployment.gateway.post("/no-session")
    fetched = deployment.gateway.fetch(listed.correlation_id)

    assert listed.headers.get_all("Set-Cookie") == ["session=1; HttpOnly", "theme=dark"]
    for response in (listed, unlisted, fetched):
        assert (response.status, response.body, response.headers["X-Any"]) == (200, b"body", "1")
        assert "WWW-Authenticate" not in response.headers
        assert response.headers["Connection"] != "upgrade"
        assert "Keep-Alive" not in response.headers
    assert "Set-Cookie" not in unlisted.headers
    assert "Set-Cookie" not in fetched.headers


# python -m gateway.check


def check(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.check", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8", **env},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def lines_of(ended: subprocess.CompletedProcess[str], mark: str) -> list[str]:
    assert ended.stderr == ""
    lines = ended.stdout.splitlines()
    assert all(line[0] in "✓✗" for line in lines)
    return [line for line in lines if line.startswith(mark)]


def test_a_healthy_deployment_passes_every_check(deployment: Deployment):
    ended = check(deployment.environment)

    assert lines_of(ended, "✗") == []
    assert ended.returncode == 0
    for text in (
        "POST /patient publishes to topic t",
        "reply timeout 8 s",
        "Kafka answers at kafka://",
        "orders has 1 partition",
        f"reply topic {deployment.prefix}replies has 1 partition",
        "Redis answers at redis://",
        "read every partition",
    ):
        assert text in ended.stdout
    assert deployment.secret_key not in ended.stdout


def test_each_missing_part_is_reported_with_what_to_do(deployment: Deployment, tmp_path: Path):
    routes = tmp_path / "routes.toml"
    routes.write_text(ROUTES.replace('"order.json"', '"none.json"'))
    more = {"ROUTES_FILE": str(routes), "REPLY_TOPIC": "missing"}
    schema_missing = check(deployment.environment | more)
    routes.write_text('[[route]]\npath = "/a"\ntopic = "not-there"\n')
    redis = f"redis://:hunter2@{LOOPBACK}:{free_port()}/0"
    topic_missing = check(deployment.environment | more | {"REDIS_URL": redis})

    assert (schema_missing.returncode, topic_missing.returncode) == (1, 1)
    schema, reply_topic, no_reader = lines_of(schema_missing, "✗")
    assert "schema='none.json': it cannot be read" in schema
    assert f"reply topic {deployment.prefix}missing is missing; create it" in reply_topic
    assert "start one (python -m replies)" in no_reader
    topic, _, unreachable, unknown = lines_of(topic_missing, "✗")
    assert f"topic {deployment.prefix}not-there is missing; create it" in topic
    assert "redis://:***@" in unreachable
    assert "start it or correct REDIS_URL" in unreachable
    assert "fix Redis first" in unknown
    assert "hunter2" not in topic_missing.stdout


def test_the_check_ends_in_time_while_servers_hang():
    with ExitStack() as stack:
        ports = [
            stack.enter_context(socket.create_server((LOOPBACK, 0))).getsockname()[1]
            for _ in range(2)
        ]
        started_s = time.monotonic()
        ended = check(
            {
                "KAFKA_URL": f"kafka://{LOOPBACK}:{ports[0]}",
                "REDIS_URL": f"redis://{LOOPBACK}:{ports[1]}/0",
                "SECRET_KEY": "b1946ac92492d2347c6235b4d2611184",
            }
        )
        took_s = time.monotonic() - started_s

    assert ended.returncode == 1
    assert took_s < 30  # 10 s, and the start of the interpreter on a busy machine
    kafka, redis, _ = lines_of(ended, "✗")
    assert "Kafka" in kafka
    assert "Redis does not answer" in redis


def test_every_missing_setting_is_reported_with_ascii_marks():
    ended = check({"PYTHONIOENCODING": "ascii"})

    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert all(line.startswith("[FAIL] ") for line in lines)
    assert [line.split()[1] for line in lines] == [
        "KAFKA_URL", "SECRET_KEY", "nothing",
    ]  # fmt: skip


def test_help_describes_the_check():
    ended = check({}, "--help")

    assert ended.returncode == 0
    assert "publishes nothing" in ended.stdout
