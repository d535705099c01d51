"""Request bodies: size limit, chunked encoding, and bodies that cannot be read."""

import io

import pytest

from rendezvous.kafka_client.producer import PublishTooLarge
from tests.unit.gateway.web.routes.gateway import MAX_BODY_BYTES, assert_problem, assert_retry_after


class Unreadable(io.RawIOBase):
    """A body that fails when it is read."""

    def readable(self):
        return True

    def readinto(self, buffer):
        raise AssertionError("the body was read")


def unread(size):
    return {"wsgi.input": Unreadable(), "CONTENT_LENGTH": str(size)}


def test_a_request_over_the_in_flight_limit_is_rejected_before_its_body_is_read(new_gateway):
    gateway = new_gateway(max_in_flight=1)
    rejected = []
    gateway.publisher.after_publish = lambda: rejected.append(
        gateway.request(environ_overrides=unread(10))
    )

    assert gateway.request(data=b"x").status_code == 200
    assert_problem(rejected[0], 503, "overloaded", "no")
    assert_retry_after(rejected[0])


class Endless(io.RawIOBase):
    """A body that never ends."""

    read_bytes = 0

    def readable(self):
        return True

    def readall(self):
        raise AssertionError("read without a limit")

    def readinto(self, buffer):
        self.read_bytes += len(buffer)
        return len(buffer)


def test_a_body_whose_length_exceeds_the_limit_is_rejected(gateway):
    response = gateway.request(data=b"x" * (MAX_BODY_BYTES + 1))

    problem = assert_problem(response, 413, "too-large", "no")
    assert f"the {MAX_BODY_BYTES} bytes" in problem["detail"]
    assert "MAX_BODY_BYTES" in problem["detail"]
    assert gateway.publisher.published == []


@pytest.mark.parametrize(
    "environ",
    [
        {"CONTENT_LENGTH": "9" * 12},
        {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    ],
    ids=["", "chunked"],
)
def test_only_a_part_of_an_endless_body_is_read(gateway, environ):
    body = Endless()

    response = gateway.request(environ_overrides={"wsgi.input": body, **environ})

    assert_problem(response, 413, "too-large", "no")
    assert body.read_bytes < 200_000
    assert gateway.publisher.published == []


def test_a_request_whose_body_cannot_be_read_is_a_400_and_not_sent(gateway):
    response = gateway.request(environ_overrides=unread(10))

    assert_problem(response, 400, "unreadable-body", "no")
    assert gateway.publisher.published == []


@pytest.mark.parametrize(
    "server", [{}, {"wsgi.input_terminated": True}], ids=["any server", "gunicorn"]
)
def test_a_truncated_body_is_not_sent(gateway, server):
    body = {"wsgi.input": io.BytesIO(b"x" * 5), "CONTENT_LENGTH": "10"}

    response = gateway.request(environ_overrides=body | server)

    assert_problem(response, 400, "unreadable-body", "no")
    assert gateway.publisher.published == []


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, MAX_BODY_BYTES + 2, 10 * MAX_BODY_BYTES])
def test_a_chunked_body_over_the_limit_is_rejected_not_truncated(gateway, size):
    response = gateway.request(
        input_stream=io.BytesIO(b"x" * size), environ_overrides={"wsgi.input_terminated": True}
    )

    assert_problem(response, 413, "too-large", "no")
    assert gateway.publisher.published == []


@pytest.mark.parametrize("size", [0, 1, MAX_BODY_BYTES])
def test_a_chunked_body_within_the_limit_is_forwarded(gateway, size):
    response = gateway.request(
        input_stream=io.BytesIO(b"x" * size), environ_overrides={"wsgi.input_terminated": True}
    )

    assert response.status_code == 200
    assert gateway.published.body == b"x" * size


def test_a_record_that_is_too_large_for_kafka_is_a_413(gateway):
    gateway.publisher.refused_at_once = PublishTooLarge("too large for topic 'echo'")

    response = gateway.request(data=b"x")

    assert response.status_code == 413
    assert response.get_json(force=True)["type"] == "/problems/too-large"
