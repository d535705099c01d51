"""The composition root connects the parts, starts those that it built, and nothing else."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.bootstrap import build
from gateway.exchange.publisher import RequestPublisher
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.partition_reader import PartitionReader
from gateway.exchange.waiting.poller import Poller
from gateway.health.readiness import Readiness
from tests.unit.apps import SETTINGS
from tests.unit.conftest import ECHO


@pytest.fixture
def started(monkeypatch):
    """The parts that were started, by class."""
    found = []
    for part in (Mailbox, Poller, RequestPublisher, Readiness, PartitionReader):
        monkeypatch.setattr(part, "start", lambda self: found.append(type(self)))
        monkeypatch.setattr(part, "close", lambda self: None)
    return found


def test_building_starts_nothing(started, redis):
    build(SETTINGS, ECHO, None, redis=redis)

    assert started == []


def test_the_lifecycle_starts_the_parts_that_were_built(started, redis):
    build(SETTINGS, ECHO, None, redis=redis).lifecycle.ensure_started()

    assert started == [Mailbox, Poller, RequestPublisher, PartitionReader, Readiness]


def test_if_all_replies_come_through_redis_none_is_read_from_kafka(started, redis):
    store = replace(SETTINGS, reply_delivery="store")
    build(store, ECHO, None, redis=redis).lifecycle.ensure_started()

    assert started == [Mailbox, Poller, RequestPublisher, Readiness]


def test_without_redis_nothing_polls(started):
    build(replace(SETTINGS, redis_url=""), ECHO, None).lifecycle.ensure_started()

    assert started == [Mailbox, RequestPublisher, PartitionReader, Readiness]


def test_a_part_that_is_passed_in_is_not_started(started, redis, store, publisher):
    mailbox, readiness = Mailbox(), Readiness((), lambda: False)

    gateway = build(
        SETTINGS, ECHO, None, redis=redis, publisher=publisher, mailbox=mailbox,
        stored=Poller(store, mailbox), readiness=readiness,
    )  # fmt: skip
    gateway.lifecycle.ensure_started()

    assert started == []


def test_a_built_gateway_exchanges_a_request_for_its_reply(redis, publisher):
    gateway = build(
        SETTINGS, ECHO, None, redis=redis, publisher=publisher, readiness=Readiness((), bool)
    )
    try:
        response = gateway.app.test_client().post("/echo", data=b"tea")
    finally:
        gateway.lifecycle.close()

    assert response.status_code == 200
    assert [request.topic for request in publisher.published] == ["echo"]


def test_without_routes_there_is_still_a_reply_path_to_check(redis):
    health = build(SETTINGS, (), None, redis=redis).reply_path_health

    assert health is not None
    assert health.topic == "replies"


def test_a_gateway_without_tokens_needs_no_package_for_them():
    code = (
        "import sys; sys.modules |= {'jwt': None, 'cryptography': None}\n"
        "from tests.unit.apps import SETTINGS\n"
        "from gateway.bootstrap import build\n"
        "import gateway.check\n"
        "build(SETTINGS, [], None)"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True, timeout=60
    )
