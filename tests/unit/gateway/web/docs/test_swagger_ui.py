"""The application, its description and docs/reference/problems.md agree."""

import gzip
import json
import re
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.problems import DOCUMENTED
from gateway.routing.schema import BodySchema
from gateway.routing.table import Route, load_routes
from gateway.web.docs.openapi import describe

ROOT = Path(__file__).parents[5]
REFERENCE = (ROOT / "docs/reference/problems.md").read_text(encoding="utf-8")
ROUTES = (
    *load_routes(ROOT / "routes.toml"),
    Route("/checked", "checked", schema=BodySchema({"type": "object"})),
    Route("/once", "once", idempotency="required"),
    Route("/users", "users", caller="header:X-User"),
    Route("/orders/<order_id>", "orders", ("PUT", "DELETE"), "path:order_id", ("X-Tenant",)),
    Route("/all/<int:number>", "all", ("POST", "PUT", "PATCH", "DELETE")),
    Route("/all/<float:amount>", "all", ("POST",)),
)
#: The files that the page at /docs loads.
NOT_DESCRIBED = {("GET", "/docs/{of_version}/{name}")}


@pytest.fixture
def app(new_app):
    return new_app(ROUTES)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def described(client):
    return client.get("/openapi.json").json


def operations(described):
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield method.upper(), path, operation


def without_names(path):
    """Return *path* without parameter names."""
    return re.sub(r"<.*?>|{.*?}", "{}", path)


def test_views_and_described_operations_are_the_same(app, described):
    views = {
        (method, without_names(rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"OPTIONS"}
    }
    operations_found = {(method, without_names(path)) for method, path, _ in operations(described)}
    # Every GET has a HEAD.
    operations_found |= {("HEAD", path) for method, path in operations_found if method == "GET"}
    operations_found |= {(method, without_names(path)) for method, path in NOT_DESCRIBED}
    operations_found |= {("HEAD", without_names(path)) for _, path in NOT_DESCRIBED}

    assert views == operations_found


@pytest.mark.parametrize(
    "options", [{}, {"takes_keys": True}, {"takes_tokens": True}, {"keeps_replies": False}]
)
def test_the_description_is_valid(options):
    OpenAPIV31SpecValidator(describe(ROUTES, **options)).validate()


def test_every_problem_type_is_described():
    scoped = Route("/scoped", "scoped", scopes=("orders:write",))
    with_redis = describe((*ROUTES, scoped), takes_keys=True, takes_tokens=True)
    without_redis = describe(ROUTES, keeps_replies=False)
    named = {
        name
        for described in (with_redis, without_redis)
        for _, _, operation in operations(described)
        for response in operation["responses"].values()
        for name in re.findall("#/components/schemas/([a-z-]+)", json.dumps(response))
    }
    schemas = without_redis["components"]["schemas"] | with_redis["components"]["schemas"]

    assert set(DOCUMENTED) <= named
    for kind in DOCUMENTED.values():
        schema = schemas[kind.kind]
        assert schema["properties"]["type"]["const"] == kind.type_path()
        assert kind.meaning in schema["description"]
        assert kind.retry in schema["description"]


def test_without_redis_the_description_has_no_202_and_no_problem_of_kept_replies():
    route = Route("/a", "a")
    responses = describe((route,), keeps_replies=False)["paths"]["/a"]["post"]["responses"]

    assert "202" not in responses
    assert "idempotency-unavailable" in json.dumps(responses["501"])
    assert "idempotency-key-reused" not in json.dumps(responses)


def test_the_reference_lists_each_problem_type_and_no_other():
    table = REFERENCE.partition("## Outcomes\n\n")[2].partition("\n\n")[0]
    listed = {
        kind for line in table.splitlines() for kind in re.findall("`(.*?)`", line.split("|")[3])
    }

    assert listed == {*DOCUMENTED, "about:blank"}


@pytest.mark.parametrize("kind", DOCUMENTED.values(), ids=DOCUMENTED)
def test_the_reference_has_the_status_of_each_problem_type(kind):
    (line,) = [line for line in REFERENCE.splitlines() if re.search(rf"^\|.*`{kind.kind}`", line)]

    assert str(kind.status) in line.split("|")[2]


def test_the_description_is_cacheable(client):
    first = client.get("/openapi.json")
    second = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})

    assert first.mimetype == "application/json"
    assert re.fullmatch(r"max-age=\d{1,3}", first.headers["Cache-Control"])
    assert (second.status_code, second.data) == (304, b"")


def loaded(page):
    return re.findall('(?:src|href)="(.*?)"', page)


def test_the_page_loads_only_files_of_the_gateway(client):
    page = client.get("/docs")

    assert page.content_type == "text/html; charset=utf-8"
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert len(loaded(page.text)) == 4
    for path in loaded(page.text):
        assert not path.startswith(("http", "/"))
        file = client.get("/" + path)
        assert file.status_code == 200
        assert len(file.data) > 100


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "text/javascript"),
     ("start.js", "text/javascript"), ("favicon-32x32.png", "image/png")],
)  # fmt: skip
def test_the_files_of_the_page_are_immutable(client, name, mimetype):
    (path,) = [path for path in loaded(client.get("/docs").text) if path.endswith(name)]

    file = client.get("/" + path)

    assert file.mimetype == mimetype
    assert file.headers["X-Content-Type-Options"] == "nosniff"
    assert "max-age=31536000" in file.headers["Cache-Control"]
    assert "immutable" in file.headers["Cache-Control"]


@pytest.mark.parametrize(
    "path",
    ["0/swagger-ui.css", "{v}/swagger-ui.js", "{v}/..%2FLICENSE", "{v}/LICENSE", "{v}", "{v}/"],
)
def test_other_files_of_the_package_are_not_served(client, path):
    version = loaded(client.get("/docs").text)[0].split("/")[1]

    assert client.get("/docs/" + path.format(v=version)).status_code == 404


def test_swagger_ui_uses_no_external_validator(client):
    (start,) = [path for path in loaded(client.get("/docs").text) if path.endswith("start.js")]
    script = client.get("/" + start).text

    assert "validatorUrl: null" in script
    assert 'url: "openapi.json"' in script


#: The paths of what is compressed, and how much smaller it is at least.
COMPRESSED = {"/openapi.json": 3, "/docs": 1, "swagger-ui-bundle.js": 3, "swagger-ui.css": 3}
GZIP = {"Accept-Encoding": "br, gzip"}


def path_of(client, name):
    if name.startswith("/"):
        return name
    return next("/" + path for path in loaded(client.get("/docs").text) if path.endswith(name))


@pytest.mark.parametrize("name", COMPRESSED)
def test_clients_that_accept_gzip_get_it(client, name):
    path = path_of(client, name)
    plain, compressed = client.get(path), client.get(path, headers=GZIP)
    head = client.head(path, headers=GZIP)

    assert "Content-Encoding" not in plain.headers
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.data) == plain.data
    assert len(compressed.data) * COMPRESSED[name] < len(plain.data)
    assert compressed.content_type == plain.content_type
    assert int(compressed.headers["Content-Length"]) == len(compressed.data)
    assert plain.headers["Vary"] == compressed.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != compressed.headers["ETag"]
    assert (head.data, head.headers) == (b"", compressed.headers)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0.5", "gzip"),
        ("GZIP", "gzip"),
        ("", None),
        ("br", None),
        ("gzip;q=0", None),
        ("gzip;q=0, *", None),
        ("identity, gzip;q=0.5", None),
        ("identity", None),
        ("gzip;q=nonsense\xff", None),
    ],
)
def test_the_encoding_is_one_that_the_client_accepts(client, accepted, encoding):
    response = client.get("/openapi.json", headers={"Accept-Encoding": accepted})

    assert response.headers.get("Content-Encoding") == encoding


@pytest.mark.parametrize("headers", [{}, GZIP])
def test_each_encoding_is_cacheable_by_its_own_etag(client, headers):
    path = path_of(client, "swagger-ui-bundle.js")
    etag = client.get(path, headers=headers).headers["ETag"]
    same = client.get(path, headers=headers | {"If-None-Match": etag})
    other = client.get(path, headers={"Accept-Encoding": "br"} if headers else GZIP)
    changed = client.get(path, headers=headers | {"If-None-Match": other.headers["ETag"]})

    assert (same.status_code, same.data) == (304, b"")
    assert same.headers["Vary"] == "Accept-Encoding"
    assert same.headers["ETag"] == etag
    assert changed.status_code == 200


@pytest.mark.parametrize("year", ["2026", "99999999999999999999"])
@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_a_date_is_no_condition_for_a_page_without_one(client, path, year):
    given = {"If-Modified-Since": f"Fri, 27 Nov {year} 12:00:00 GMT"}

    assert client.get(path, headers=given).status_code == 200


@pytest.mark.parametrize("headers", [{}, GZIP])
def test_a_range_is_ignored(client, headers):
    path = path_of(client, "swagger-ui-bundle.js")
    whole = client.get(path, headers=headers)
    part = client.get(path, headers=headers | {"Range": "bytes=0-9", "If-Range": '"x"'})

    assert (part.status_code, part.data) == (200, whole.data)
    assert "Content-Range" not in part.headers
    assert part.headers["Accept-Ranges"] == "none"


def test_images_are_not_compressed_again(client):
    response = client.get(path_of(client, "favicon-32x32.png"), headers=GZIP)

    assert "Content-Encoding" not in response.headers
    assert "Vary" not in response.headers


def test_browsers_guess_the_type_of_no_response(app, client):
    paths = {rule.rule for rule in app.url_map.iter_rules() if "GET" in rule.methods}

    for path in (*paths, "/nowhere", "/problems/unauthorized"):
        for accepted in ("text/html", "application/json"):
            response = client.get(path, headers={"Accept": accepted})
            assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"], path
