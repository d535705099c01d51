"""Reply records of all kinds: usable, unusable, duplicate, without or with a wrong id."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from rendezvous.kafka_client.partitioning import murmur2_partition
from tests.support.deployment import Deploy, Deployment
from tests.support.scripted_responder import (
    Headers,
    NameNotUtf8,
    Script,
    ScriptedResponder,
    correlation_id,
)
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

TIMEOUT_S = 3.0
KEY = "rdv_" + "k" * 43
#: A value that would begin lines of a log, and shows a key.
FORGED = f"an\x1b[2Kforged {KEY}\nforged\rforged\x85forged\u2028forged"


@pytest.fixture(scope="module")
def deployment(
    deploy_for_module: Deploy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    routes = tmp_path_factory.mktemp("routes") / "routes.toml"
    routes.write_text(
        Path("routes.toml").read_text(encoding="utf-8")
        + '\n[[route]]\npath = "/scripted/<case>"\ntopic = "scripted"\n'
        + '\n[[route]]\npath = "/streams/<case>"\ntopic = "scripted"\nreplies = "last"\n'
    )
    env = {"REPLY_TIMEOUT_S": str(TIMEOUT_S), "ROUTES_FILE": str(routes)}
    with deploy_for_module(env=env, topics=("scripted",), partitions=1) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def responder(deployment: Deployment) -> Iterator[ScriptedResponder]:
    """A responder that runs the script named by the last part of the request path."""

    def run(responder: ScriptedResponder, record: Any) -> None:
        case = dict(record.headers)["path"].decode().rpartition("/")[2]
        SCRIPTS[case](responder, record)

    with ScriptedResponder.of(deployment, "scripted", run) as responder:
        yield responder


def replies(*headers: tuple[str, bytes], value: bytes | None = b"body") -> Script:
    """Return a script that replies once with the correlation id and *headers*."""

    def script(responder: ScriptedResponder, record: Any) -> None:
        responder.reply(value, [("correlation-id", correlation_id(record)), *headers])

    return script


def replies_under(names: list[str]) -> Script:
    """Return a script that replies with the correlation id in the headers *names* only."""

    def script(responder: ScriptedResponder, record: Any) -> None:
        responder.reply(b"body", [(name, correlation_id(record)) for name in names])

    return script


def replies_twice(responder: ScriptedResponder, record: Any) -> None:
    for value in (b"first", b"second"):
        responder.reply(value, [("correlation-id", correlation_id(record))])


def replies_without_id(responder: ScriptedResponder, record: Any) -> None:
    responder.reply(b"body", [("status", b"200")])


def replies_with_two_ids(responder: ScriptedResponder, record: Any) -> None:
    ids = [("correlation-id", correlation_id(record)), ("correlation-id", b"another")]
    responder.reply(b"body", ids)


def replies_after_an_undecodable_record(responder: ScriptedResponder, record: Any) -> None:
    responder.reply(b"undecodable", [(NameNotUtf8("x"), b"undecodable")])
    responder.reply(b"body", [("correlation-id", correlation_id(record))])


def streams(*values: bytes | None, ends: Headers) -> Script:
    """Return a script that replies with *values*, the last one with the headers *ends*."""

    def script(responder: ScriptedResponder, record: Any) -> None:
        named = [("kafka_correlationId", correlation_id(record))]
        partition = int(dict(record.headers)["kafka_replyPartition"])
        for number, value in enumerate(values, 1):
            last = ends if number == len(values) else []
            responder.reply(value, [*named, *last], partition)

    return script


DISPOSED = ("kafka_nest-is-disposed", b"\0")
SCRIPTS: dict[str, Script] = {
    "stream": streams(b"1", b"2", b"3", ends=[DISPOSED]),
    "late-end": streams(b"1", b"2", None, ends=[DISPOSED]),
    "no-value": streams(None, ends=[DISPOSED]),
    "then-fails": streams(b"1", None, ends=[("kafka_nest-err", b'{"status":404}')]),
    "plain": replies(),
    "created": replies(("status", b"201"), ("content-type", b"text/plain"), ("x-a", b"b")),
    "status-42": replies(("status", b"42")),
    "status-101": replies(("status", b"101")),
    "status-abc": replies(("status", b"abc")),
    "crlf": replies(("content-type", b"text/plain\r\nSet-Cookie: a=b")),
    "crlf-x": replies(("x-note", b"a\r\nb")),
    "non-ascii": replies(("x-note", "ä".encode())),
    "cookie": replies(("set-cookie", b"a=b"), ("transfer-encoding", b"chunked")),
    "commands": replies(("x-accel-redirect", b"/etc"), ("x-sendfile", b"/etc"), ("x-a", b"b")),
    "forged": replies(("REPLY_ERROR", FORGED.encode()), value=None),
    "null": replies(value=None),
    "nest-error": replies(("kafka_nest-err", b'{"status":"error"}'), value=None),
    "nest-status": replies(("kafka_nest-err", b'{"statusCode":422}'), value=None),
    "dead-letter": replies(
        ("reply-topic", b"replies"), ("kafka_dlt-exception-fqcn", b"java.lang.Exception")
    ),
    "quarkus": replies_under(["REPLY_CORRELATION_ID"]),
    "every-name": replies_under(
        ["correlation-id", "kafka_correlationId", "REPLY_CORRELATION_ID", "correlation_id"]
    ),
    "twice": replies_twice,
    "no-id": replies_without_id,
    "two-ids": replies_with_two_ids,
    "undecodable": replies_after_an_undecodable_record,
}


@pytest.mark.parametrize(
    ("case", "status", "body"),
    [
        ("stream", 200, b"3"),
        ("late-end", 200, b"2"),
        ("no-value", 204, b""),
        ("then-fails", 404, b'{"status":404}'),
    ],
)
def test_the_last_value_of_a_stream_is_the_response(
    deployment: Deployment, responder: ScriptedResponder, case: str, status: int, body: bytes
):
    responses = [deployment.gateway.post(f"/streams/{case}") for _ in range(2)]
    again = deployment.gateway.fetch(responses[0].correlation_id)

    for response in (*responses, again):
        assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize(
    ("case", "status", "body"),
    [
        ("plain", 200, b"body"),
        ("created", 201, b"body"),
        ("cookie", 200, b"body"),
        ("commands", 200, b"body"),
        ("null", 204, b""),
        ("nest-status", 422, b'{"statusCode":422}'),
        ("quarkus", 200, b"body"),
        ("every-name", 200, b"body"),
        ("twice", 200, b"first"),
        ("undecodable", 200, b"body"),
    ],
)
def test_a_usable_reply_becomes_the_response(
    deployment: Deployment, responder: ScriptedResponder, case: str, status: int, body: bytes
):
    response = deployment.gateway.post(f"/scripted/{case}")

    assert (response.status, response.body) == (status, body)
    assert "Set-Cookie" not in response.headers
    assert not {"X-Accel-Redirect", "X-Sendfile"} & set(response.headers)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if case == "twice":
        again = deployment.gateway.fetch(response.correlation_id)
        assert again.body == b"first"


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("status-42", "bad-reply"),
        ("status-101", "bad-reply"),
        ("status-abc", "bad-reply"),
        ("crlf", "bad-reply"),
        ("crlf-x", "bad-reply"),
        ("non-ascii", "bad-reply"),
        ("nest-error", "responder-error"),
        ("dead-letter", "responder-error"),
        ("forged", "responder-error"),
    ],
)
def test_a_reply_that_is_not_a_valid_response_is_a_502_at_once(
    deployment: Deployment, responder: ScriptedResponder, case: str, kind: str
):
    response = deployment.gateway.post(f"/scripted/{case}")

    assert (response.status, response.json["type"]) == (502, f"/problems/{kind}")
    assert response.json["sent"] == "yes"
    assert response.elapsed_s < TIMEOUT_S
    assert deployment.gateway.post("/echo", b"next").body == b"next"


@pytest.mark.parametrize("case", ["no-id", "two-ids"])
def test_a_reply_without_a_single_correlation_id_is_skipped(
    deployment: Deployment, responder: ScriptedResponder, case: str
):
    response = deployment.gateway.post(f"/scripted/{case}")

    assert (response.status, response.json["type"]) == (503, "/problems/reply-timeout")
    assert deployment.gateway.post("/echo", b"next").body == b"next"


def test_invalid_records_on_a_request_topic_do_not_stop_the_responder(deployment: Deployment):
    producer = KafkaProducer(**deployment.settings.kafka_connection())
    topic = deployment.prefix + "echo"
    for partition in producer.partitions_for(topic):
        for headers in (
            [(NameNotUtf8("x"), b"undecodable")],
            [("correlation-id", b"no deadline")],
            [],
        ):
            producer.send(topic, b"invalid", headers=headers, partition=partition).get(timeout=20)
    producer.close()

    statuses = {deployment.gateway.post("/echo", b"next").status for _ in range(20)}

    assert statuses == {200}


def test_no_record_begins_a_log_line_of_any_process(
    deployment: Deployment, responder: ScriptedResponder
):
    headers = [
        ("correlation-id", FORGED.encode()),
        ("reply-topic", f"{deployment.prefix}replies".encode()),
        ("deadline", b"1"),
    ]
    for topic in ("echo", "replies"):
        responder.producer.send(deployment.prefix + topic, b"x", headers=headers).get(timeout=20)
    deployment.gateway.post("/scripted/forged")

    assert wait_until(lambda: "forged" in deployment.gateway.logged(), 10), deployment.logs()
    for process in deployment.processes:
        lines = process.logged().split("\n")
        assert [line for line in lines if not line.isprintable()] == []
        assert [line for line in lines if line.startswith("forged")] == []
        assert KEY not in process.logged()


def test_a_request_record_has_the_headers_of_the_contract(
    deployment: Deployment, responder: ScriptedResponder
):
    response = deployment.gateway.request(
        "POST",
        "/scripted/plain?a=1&b=%20",
        b"\x00raw",
        {
            "Content-Type": "application/x-thing",
            "Cookie": "secret",
            "kafka_replyTopic": "elsewhere",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
        },
    )
    record = responder.records[-1]
    headers = dict(record.headers)

    assert record.value == b"\x00raw"
    # A key that leads the reply to the process that waits.
    partition = int(headers["reply-partition"])
    assert murmur2_partition(record.key, deployment.partitions) == partition
    for name in ("correlation-id", "kafka_correlationId", "REPLY_CORRELATION_ID", "correlation_id"):
        assert headers[name] == response.correlation_id.encode()
    for name in ("reply-topic", "kafka_replyTopic", "REPLY_TOPIC", "reply_to"):
        assert headers[name] == (deployment.prefix + "replies").encode()
    assert headers["deadline"].decode() == response.correlation_id.split(".")[1]
    assert headers["content-type"] == b"application/x-thing"
    assert headers["method"] == b"POST"
    assert headers["path"] == b"/scripted/plain"
    assert headers["query"] == b"a=1&b=%20"
    assert headers["traceparent"].endswith(b"-03")
    assert b"secret" not in headers.values()
    assert len(headers) == len(record.headers)
