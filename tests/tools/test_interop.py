"""Parts of `make interop` that need no framework."""

import http.client
from dataclasses import dataclass, replace

import pytest

from gateway.routing.table import load_routes
from tests.interop.__main__ import is_built, routes_of
from tests.interop.calls import REQUESTERS, Outcome, answered, call_rows, printed_outcomes
from tests.interop.cases.run import as_expected, described, lines_of
from tests.interop.cases.suite import Case, Suite
from tests.interop.cases.suites import SUITES
from tests.interop.drive import Result
from tests.interop.frameworks import FRAMEWORKS, PLAIN, Framework
from tests.interop.partitions import partition_of, straight_and_all, wanted_partitions
from tests.interop.programs import ROOT
from tests.interop.report import passed, row
from tests.support.deployment import Response

FRAMEWORK = Framework("some", (), "true", "true")


@dataclass
class Record:
    headers: list[tuple[str, bytes]]
    key: bytes = b"key"
    partition: int = 0


def test_a_key_belongs_to_the_partition_of_javas_default_partitioner():
    # Hashes of org.apache.kafka.common.utils.Utils.murmur2, from Kafka's own tests.
    assert partition_of(b"21", 12) == (-973932308 & 0x7FFFFFFF) % 12
    assert partition_of(b"foobar", 12) == (-790332482 & 0x7FFFFFFF) % 12


def test_a_reply_is_awaited_in_the_partition_that_its_request_names():
    named = Record([("correlation-id", b"a"), ("reply-partition", b"7")])
    by_key = Record([("correlation-id", b"b")])

    assert wanted_partitions([named, by_key], 12) == {"a": 7, "b": partition_of(b"key", 12)}


def test_only_replies_in_their_partition_are_straight():
    replies = [
        Record([("correlation-id", b"a")], partition=7),
        Record([("kafka_correlationId", b"b")], partition=3),
        Record([("correlation-id", b"of another framework")], partition=7),
    ]

    assert straight_and_all({"a": 7, "b": 4}, replies) == (1, 2)


def test_a_row_marks_statuses_that_are_not_as_documented():
    result = Result(PLAIN | {"error": 200}, sent=200, answered=200, straight=50, replies=200)

    assert row(FRAMEWORK, result).split() == [
        "some", "200", "201", "200!", "204", "200/200", "25.0%"
    ]  # fmt: skip
    assert not passed(FRAMEWORK, result)


def test_a_lost_request_fails():
    result = Result(PLAIN, sent=200, answered=200, straight=200, replies=200)

    assert passed(FRAMEWORK, result)
    assert not passed(FRAMEWORK, replace(result, answered=199))


def test_a_framework_without_its_programs_is_skipped_with_the_reason(capsys):
    missing = Framework("some", ("no-such-program",), "false", "false")

    assert not is_built(missing)
    assert capsys.readouterr().out == "some skipped: needs no-such-program on PATH\n"


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.name)
def test_each_framework_has_its_folder_and_a_route_for_each_case(framework):
    assert framework.sources.is_dir()
    assert routes_of(framework).count("[[route]]") == len(framework.expected) == len(PLAIN)


def test_the_routes_of_the_examples_lead_to_each_of_their_topics():
    routed = {route.topic for route in load_routes(ROOT / "examples/routes.toml")}
    # Our own responder waits until its topics exist, and make run until it answers.
    own = {"echo", "orders"}
    topics = {
        topic
        for framework in FRAMEWORKS
        if framework.sources.parent == ROOT / "examples"
        for topic in framework.topics
    }

    # Frameworks with a profile have no topic whose headers are copied.
    assert own <= routed
    assert {topic for topic in topics if not topic.endswith(".copy")} <= routed - own <= topics


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_each_suite_has_its_program_and_a_valid_route_to_each_topic(suite, tmp_path):
    routes = tmp_path / "routes.toml"
    routes.write_text(suite.routes)

    assert suite.sources.is_dir()
    assert {route.topic for route in load_routes(routes)} == set(suite.topics)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (None, b"", "200 -"),
        ("text/plain", "Ö €\n1".encode(), "200 text/plain Ö € 1"),
        (None, b"\x00\xff", "200 - 2 bytes 00ff"),
        (
            "application/problem+json",
            b'{"type": "/problems/reply-timeout", "detail": "no reply"}',
            "200 reply-timeout no reply",
        ),
    ],
)
def test_a_response_is_described_in_one_line(content_type, body, expected):
    headers = http.client.HTTPMessage()
    if content_type:
        headers["Content-Type"] = content_type

    assert described(Response(200, headers, body, 0.1)) == expected


def test_a_case_that_is_not_as_expected_has_a_mark():
    cases = (
        Case("some.text", "same", b"", None, "200 -"),
        Case("some.text", "begins so", b"", None, "503 reply-timeout..."),
        Case("some.text", "another", b"", None, "204 -"),
    )
    suite = Suite("some", (), "true", "true", cases)
    observed = ["200 -", "503 reply-timeout no reply came", "200 -"]

    assert as_expected(suite, observed) == 2
    assert [line.rpartition(" | ")[2] for line in lines_of(suite, observed)] == [
        *observed[:2],
        '! expected "204 -"',
    ]


def test_a_call_is_read_from_the_line_that_a_requester_prints(tmp_path):
    log = tmp_path / "log"
    log.write_text('a warning\ncall\torder\treply\t{\\"item\\":\\"tea\\"}\ncall\tcut\n')

    assert printed_outcomes(log) == {"order": Outcome("reply", r"{\"item\":\"tea\"}")}


def test_a_call_that_is_missing_or_not_as_expected_has_a_mark():
    (nestjs,) = [requester for requester in REQUESTERS if requester.name == "nestjs"]
    outcomes = {
        "first value": Outcome("reply", '{"a":1}'),
        "order": Outcome("error", '"item": "tea"'),
        "order refused": Outcome("error", "something else"),
    }

    assert answered(nestjs, outcomes) == 1
    assert ["!" in row[34:44] for row in call_rows(nestjs, outcomes)] == [
        False, True, True, True, True
    ]  # fmt: skip


@pytest.mark.parametrize("requester", REQUESTERS, ids=lambda requester: requester.name)
def test_each_requester_has_its_folder_and_its_calls(requester):
    assert requester.sources.is_dir()
    assert {"order", "order refused"} <= set(requester.expected)


def test_the_calls_are_as_many_as_the_documents_say():
    assert sum(len(requester.expected) for requester in REQUESTERS) == 22
