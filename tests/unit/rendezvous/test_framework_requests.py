"""Requests of other frameworks: ids, and what identifies them in a journal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rendezvous.contract import Request
from rendezvous.correlation import CorrelationIds, new_node
from rendezvous.framework_requests import ID_HEADERS, MAX_BINARY_ID_BYTES, id_in
from tests.strategies import record_headers, record_values

SENT_MS = 1_700_000_000_000
raw_ids = st.one_of(
    st.binary(min_size=1, max_size=MAX_BINARY_ID_BYTES),
    st.from_regex(rb"(hex|sha256):[0-9a-f]{2,16}", fullmatch=True),
    st.from_regex(rb"[!-~]{1,200}", fullmatch=True),
)


def text_of(raw):
    return id_in([("kafka_correlationId", raw)])[0]


def spring(raw=b"1", *, body=b"x", sent_ms=SENT_MS, topic=b"replies", key=None):
    headers = [("kafka_correlationId", raw), ("kafka_replyTopic", topic)]
    return Request.decode(
        "orders", key, body, headers, sent_ms=sent_ms, default_deadline_ms=SENT_MS + 30_000
    )


@given(raw_ids, raw_ids)
def test_no_two_ids_have_the_same_text_and_any_text_is_fit_for_a_log(one, other):
    assert (text_of(one) == text_of(other)) == (one == other)
    assert len(text_of(one)) <= 200
    assert text_of(one).isascii()
    assert text_of(one).isprintable()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"the-id", "the-id"),
        (b"\x8f\x14", "hex:8f14"),
        (b"hex:8f14", "hex:6865783a38663134"),
        ("é".encode(), "hex:c3a9"),
        (b"a b", "hex:612062"),
    ],
)
def test_an_id_that_is_no_text_is_shown_in_hexadecimal(raw, text):
    assert text_of(raw) == text


def test_only_a_redelivery_has_the_same_journal_id():
    request = spring(key=b"k")
    others = [
        spring(b"2", key=b"k"),
        spring(key=b"k", body=b"y"),
        spring(key=b"k", sent_ms=SENT_MS + 1),
        spring(key=b"k", topic=b"others"),
        spring(key=b"l"),
    ]

    assert request.journal_id == spring(key=b"k").journal_id
    assert len({request.journal_id, *(other.journal_id for other in others)}) == 6
    assert len(request.journal_id) <= 200


def of_our_format(correlation_id, sent_ms=SENT_MS, names=("correlation-id",)):
    """Return a request with the headers of a gateway, or of a service that writes the same."""
    headers = [(name, correlation_id.encode()) for name in names]
    headers += [("reply-topic", b"replies"), ("deadline", b"%d" % (SENT_MS + 10_000))]
    return Request.decode("orders", None, b"", headers, sent_ms=sent_ms)


@pytest.mark.parametrize(
    "options", [{}, {"owner": "shop"}, {"keep_s": 60}, {"is_stream": True, "owner": "shop"}]
)
@pytest.mark.parametrize("names", [ID_HEADERS[:1], ID_HEADERS])
def test_the_journal_id_of_a_gateways_request_is_its_correlation_id(names, options):
    issued = CorrelationIds("a secret").issue(new_node(), SENT_MS, **options)
    published_again = of_our_format(issued, SENT_MS + 1, names)

    assert of_our_format(issued, SENT_MS, names).journal_id == issued
    assert published_again.journal_id == issued


@pytest.mark.parametrize("names", [ID_HEADERS[:1], ID_HEADERS])
def test_an_id_without_the_format_of_a_gateways_does_not_identify_a_request_by_itself(names):
    first, redelivered = of_our_format("1", SENT_MS, names), of_our_format("1", SENT_MS, names)
    used_again = of_our_format("1", SENT_MS + 1, names)

    assert first.journal_id == redelivered.journal_id
    assert used_again.journal_id != first.journal_id


@given(record_headers, record_values)
def test_a_request_of_any_requester_is_decoded_again_with_its_id_under_its_names(headers, value):
    try:
        request = Request.decode("orders", None, value, headers, default_deadline_ms=SENT_MS)
    except Exception:  # noqa: BLE001  which error it is, another test checks
        return
    again = Request.decode("orders", *request.encode())

    assert again.correlation_id == request.correlation_id
    if request.requester is not None and again.requester is not None:
        assert again.requester.id_headers == request.requester.id_headers
