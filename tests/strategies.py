"""Hypothesis strategies for untrusted input: arbitrary, and almost valid."""

from typing import Any

from hypothesis import strategies as st

from rendezvous.contract import CONTENT_TYPE, METHOD, PATH, QUERY, STATUS
from rendezvous.framework_requests import (
    DEADLINE,
    ID_HEADERS,
    PARTITION_HEADERS,
    REPLY_TOPIC_HEADERS,
)
from rendezvous.reply_headers import REPLY_HTTP_HEADERS

#: Text that UTF-8 can encode: without lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
#: Any text, with lone surrogates.
wild_texts = st.text(st.characters(), max_size=60)
#: Characters with a meaning in URLs, headers, PEM or TOML.
pointed_texts = st.text("/:?#[]@!$&'()*+,;=%<>|\\\"\n\r\t\0 ._-aA0é²", max_size=30)

FAILURE_HEADERS = (
    "kafka_nest-err",
    "REPLY_ERROR",
    "Error",
    "_watermill_requestreply_error",
    "_watermill_requestreply_has_error",
    "serverSentAnError",
    "kafka_dlt-exception-fqcn",
    "kafka_dlt-original-topic",
)
header_names = st.one_of(
    st.sampled_from(
        [
            *ID_HEADERS, *REPLY_TOPIC_HEADERS, *PARTITION_HEADERS, DEADLINE, CONTENT_TYPE, METHOD,
            PATH, QUERY, STATUS,
            ":status", "rig-response-code", *FAILURE_HEADERS, *sorted(REPLY_HTTP_HEADERS),
            "Location", "contentType", "x-", "X-A", "x-a b", "set-cookie", "content-length",
            "connection",
        ]
    ),
    texts,
    st.builds("x-{}".format, pointed_texts),
)  # fmt: skip
header_values = st.one_of(
    st.none(),
    st.sampled_from([b"the-id", b"replies", b"1700000000000", b"200", b"404", b"1", b"0", b""]),
    st.sampled_from([b'"201 CREATED"', b'"a/b"', b'{"statusCode":404}', b"205"]),
    st.sampled_from([b"http://[", b"//h:x", b"//h:99999", b"9" * 30, b"-1", b"a" * 9_000]),
    st.binary(max_size=40),
    pointed_texts.map(str.encode),
    st.builds("http://{}".format, pointed_texts).map(str.encode),
)
#: The headers of a Kafka record from any writer.
record_headers = st.lists(st.tuples(header_names, header_values), max_size=12)
#: The headers of a record that names exactly one request.
reply_headers = record_headers.map(
    lambda headers: (
        [("correlation-id", b"the-id")]
        + [(name, value) for name, value in headers if name not in ID_HEADERS]
    )
)
record_values = st.one_of(st.none(), st.binary(max_size=100))

#: Any JSON document, and what else Python's parser accepts.
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=8,
)


def toml_tables(name: str, tables: list[dict[str, Any]]) -> str:
    """Return *tables* as an array of tables called *name* in TOML."""
    return "\n".join(
        f"[[{name}]]\n" + "\n".join(f"{_toml(k)} = {_toml(v)}" for k, v in table.items())
        for table in tables
    )


def _toml(value: Any) -> str:
    if isinstance(value, str):
        encodable = value.encode("utf-8", "replace").decode()
        return '"' + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in encodable) + '"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)
