"""What strangers may send, for the properties: arbitrary, and nearly right."""

from typing import Any

from hypothesis import strategies as st

from rendezvous.contract import (
    CONTENT_TYPE,
    DEADLINE,
    ID_HEADERS,
    METHOD,
    PATH,
    QUERY,
    REPLY_HTTP_HEADERS,
    REPLY_TOPIC_HEADERS,
    STATUS,
)

#: Text that UTF-8 can carry: everything but lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
#: Text of any kind, lone surrogates included.
wild_texts = st.text(st.characters(), max_size=60)
#: What has a meaning somewhere in URLs, headers, PEM and TOML.
pointed_texts = st.text("/:?#[]@!$&'()*+,;=%<>|\\\"\n\r\t\0 ._-aA0é²", max_size=30)

FAILURE_HEADERS = (
    "kafka_nest-err",
    "REPLY_ERROR",
    "Error",
    "_watermill_requestreply_error",
    "_watermill_requestreply_has_error",
)
header_names = st.one_of(
    st.sampled_from(
        [
            *ID_HEADERS,
            *REPLY_TOPIC_HEADERS,
            DEADLINE,
            CONTENT_TYPE,
            METHOD,
            PATH,
            QUERY,
            STATUS,
            ":status",
            "rig-response-code",
            *FAILURE_HEADERS,
            *sorted(REPLY_HTTP_HEADERS),
            "Location",
            "x-",
            "X-A",
            "x-a b",
            "set-cookie",
            "content-length",
            "connection",
        ]
    ),
    texts,
    st.builds("x-{}".format, pointed_texts),
)
header_values = st.one_of(
    st.none(),
    st.sampled_from([b"the-id", b"replies", b"1700000000000", b"200", b"404", b"1", b"0", b""]),
    st.sampled_from([b"http://[", b"//h:x", b"//h:99999", b"9" * 30, b"-1", b"a" * 9_000]),
    st.binary(max_size=40),
    pointed_texts.map(str.encode),
    st.builds("http://{}".format, pointed_texts).map(str.encode),
)
#: The headers of a Kafka record that anybody may have written.
record_headers = st.lists(st.tuples(header_names, header_values), max_size=12)
#: The same, of a record that names one request, as most do.
reply_headers = record_headers.map(
    lambda headers: (
        [("correlation-id", b"the-id")]
        + [(name, value) for name, value in headers if name not in ID_HEADERS]
    )
)
record_values = st.one_of(st.none(), st.binary(max_size=100))

#: Any JSON document, and what Python's parser takes for JSON besides.
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=8,
)
