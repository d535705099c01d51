"""The live page and the welcome page: who gets them, and what they may load."""

import re
from base64 import b64encode

import pytest

from gateway.clients.api_keys import ApiKeys, hash_of, new_key
from gateway.clients.client import Client
from gateway.routing.table import Route

ADMIN, SHOP = new_key(), new_key()
KEYRING = ApiKeys([(hash_of(ADMIN), Client("ops", is_admin=True)), (hash_of(SHOP), Client("shop"))])


@pytest.fixture
def new_client(new_app, monkeypatch):
    monkeypatch.setattr("gateway.live.writer.SnapshotWriter.start", lambda self: None)

    def build(**options):
        return new_app(**{"live_page": True} | options).test_client()

    return build


def basic(password, user="any"):
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (basic(ADMIN), 200),
        (basic(ADMIN, ""), 200),
        (bearer(ADMIN), 200),
        (basic(SHOP), 401),
        (bearer(SHOP), 401),
        (basic(""), 401),
        (basic("\N{SNOWMAN}"), 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": "Basic \xff"}, 401),
        ({"Authorization": f"Digest {ADMIN}"}, 401),
        ({"Authorization": f'Digest username="{ADMIN}"'}, 401),
        ({"Authorization": "Bearer"}, 401),
    ],
)
@pytest.mark.parametrize("path", ["/live", "/live/figures"])
def test_with_api_keys_only_admins_get_the_page_and_its_figures(new_client, path, headers, status):
    response = new_client(api_keys=KEYRING).get(path, headers=headers)

    assert response.status_code == status
    if status == 401:
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
        assert "admin = true" in response.get_json(force=True)["detail"]
        assert ADMIN not in response.text


def test_an_admin_key_by_http_basic_opens_nothing_else(new_client):
    assert new_client(api_keys=KEYRING).post("/echo", headers=basic(ADMIN)).status_code == 401


def test_without_api_keys_everybody_gets_the_page(new_client):
    assert new_client().get("/live").status_code == 200


def test_a_page_that_is_switched_off_does_not_exist(new_client):
    client = new_client(live_page=False)

    assert [client.get(path).status_code for path in ("/live", "/live/figures")] == [404, 404]
    assert "/live" not in client.get("/").get_json()["links"]


def test_the_page_loads_its_own_files_only_and_runs_no_inline_script(new_client):
    client = new_client()

    response = client.get("/live")

    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script>|<style>| style=| on[a-z]+=|//", response.text)
    loaded = re.findall(r'(?:src|<link[^>]* href)="([^"]+)"', response.text)
    assert len(loaded) == 5
    for path in loaded:
        file = client.get(f"/{path}")
        assert file.status_code == 200
        assert "immutable" in file.headers["Cache-Control"]
        assert "innerHTML" not in file.text
        assert "insertAdjacentHTML" not in file.text
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", file.text)
    assert client.get("/live/files/0/live.js").status_code == 404


def test_figures_are_json_that_nobody_stores(new_client):
    response = new_client().get("/live/figures")

    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.get_json()["format"] == 1


def test_a_problem_of_a_route_shows_and_that_of_an_unknown_path_does_not(new_client, monkeypatch):
    client = new_client(reply_timeout_s=0.1)
    noted = []
    monkeypatch.setattr(
        "gateway.live.recent_problems.RecentProblems.add", lambda self, *facts: noted.append(facts)
    )
    client.post("/echo", data=b"x" * 2_000)
    client.post("/<script>", data=b"x")

    assert [(problem.kind, route, name) for problem, route, name in noted] == [
        ("too-large", "POST /echo", "")
    ]


def test_the_welcome_page_links_to_what_there_is(new_client):
    client = new_client()

    page = client.get("/", headers={"Accept": "text/html"})
    data = client.get("/", headers={"Accept": "*/*"}).get_json()

    assert page.content_type.startswith("text/html")
    assert set(re.findall(r'href="([^"]+)"', page.text)) == set(data["links"])
    for path in data["links"]:
        assert client.get(path).status_code == 200
    assert data["version"]


def test_with_api_keys_strangers_do_not_read_the_version(new_client):
    assert "version" not in new_client(api_keys=KEYRING).get("/").get_json()


def test_a_route_of_the_operator_replaces_the_welcome_page(new_client):
    client = new_client(routes=(Route("/", "root"),))

    assert client.post("/", data=b"x").status_code == 200
    assert client.get("/").status_code == 405
