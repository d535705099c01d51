"""Each path that routes.toml may have can be served and described."""

import re
from urllib.parse import quote, unquote

from hypothesis import given
from hypothesis import strategies as st
from werkzeug.routing import Map, Rule

from gateway.routing.table import Route
from gateway.routing.validation import NO_LIMITS, route_errors
from gateway.web.docs.openapi import describe

VALUES = {
    "int": "7",
    "float": "1.5",
    "path": "x/y",
    "string": "v",
    "uuid": "12345678-1234-5678-1234-567812345678",
}
PARAMETERS = [f"<{kind}:{{}}>" for kind in VALUES] + ["<{}>"]
NAMES = ["id", "order_id", "None", "True", "class", "_", "self", "x1"]
parts = st.one_of(
    st.text(max_size=4),
    st.text(alphabet="ab<>{}()[]|:;=+$!~*' .,&@^?#%\\/-_\"`\x7fß", max_size=6),
    st.builds(str.format, st.sampled_from(PARAMETERS), st.sampled_from(NAMES)),
)
paths = st.lists(parts, min_size=1, max_size=5).map(lambda found: "/" + "/".join(found))


def path_of_a_request(path: str) -> str:
    """Return what a client requests for the route *path*."""
    return re.sub(r"<(?:(\w+):)?\w+>", lambda found: VALUES[found[1] or "string"], path)


@given(paths)
def test_a_valid_path_is_found_and_described(path):
    if route_errors({"path": path, "topic": "t"}, NO_LIMITS):
        return
    urls = Map([Rule(path, endpoint="route")]).bind("localhost")
    requested = unquote(quote(path_of_a_request(path)))

    assert urls.match(requested)[0] == "route"
    assert len(describe([Route(path, "t")])["paths"]) > 0
