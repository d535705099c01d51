"""Routes with GET over HTTP: conditions, caches and a browser; and routes without replies."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deploy, Deployment
from tests.support.records import records_of
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

ROUTES = """
[[route]]
path = "/pages/<name>"
topic = "pages"
methods = ["GET"]

[[route]]
path = "/items/<item_id>"
topic = "items"
methods = ["GET", "POST"]
headers = ["If-None-Match"]

[[route]]
path = "/events/<item_id>"
topic = "items"
reply = "none"
"""
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
BROWSER_LIMIT_S = 60


@pytest.fixture(scope="module")
def deployment(deploy_for_module: Deploy) -> Iterator[Deployment]:
    with deploy_for_module(
        gateways=0, responders=0, topics=("pages", "items"), partitions=1
    ) as deployment:
        file = deployment.folder / "routes.toml"
        file.write_text(ROUTES)
        deployment.start("responder", "python -m responder --handlers tests.e2e.http.pages")
        gateway = deployment.start_gateway(ROUTES_FILE=str(file), WEB_CONCURRENCY="1")
        assert wait_until(lambda: gateway.responds("/items/any"), 30), deployment.logs()
        yield deployment


def test_a_get_is_conditional_and_claims_no_idempotency_key(deployment: Deployment):
    def get(method: str = "GET", **headers: str):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return deployment.gateway.request(method, "/items/tagged?a=%C3%A4", None, named)

    first, again = get(Idempotency_Key="k"), get(Idempotency_Key="k")
    same = get(If_None_Match='"0", W/"1"')
    since = get(If_Modified_Since="Fri, 27 Nov 2026 12:00:00 GMT")
    head = get("HEAD")
    fresh = deployment.gateway.get("/items/fresh")

    assert (first.status, first.body, again.body) == (200, b"tagged-1", b"tagged-2")
    assert "Idempotent-Replayed" not in again.headers
    assert [(r.status, r.body) for r in (same, since)] == [(304, b"")] * 2
    for response in (first, same, since, head):
        assert response.headers.get_all("ETag") == ['"1"']
        assert response.headers.get_all("Cache-Control") == ["no-cache"]
        assert len(response.headers.get_all("Date")) == 1
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "8")
    assert fresh.headers.get_all("Cache-Control") == ["private, max-age=60"]
    headers = dict(records_of(deployment, "items")[-2].headers)
    assert (headers["method"], headers["query"]) == (b"GET", b"a=%C3%A4")
    assert headers["path.item_id"] == b"tagged"


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome on PATH")
def test_a_browser_runs_nothing_without_a_content_type_and_caches_replies(
    deployment: Deployment, tmp_path: Path
):
    """Chromium guesses no type, keeps a reply for its max-age, and asks again with its ETag."""
    before = len(records_of(deployment, "items"))
    index = dom_of(f"http://{LOOPBACK}:{deployment.gateway.port}/pages/index", tmp_path)
    asked = records_of(deployment, "items")[before:]

    assert re.findall('data-ran="(.*?)"', index) == ["typed-frame typed-script"], index
    (fetched,) = re.findall('data-fetched="(.*?)"', index)
    fresh, again, tagged, validated = fetched.split()
    assert fresh == again
    assert tagged == validated
    conditions = [dict(record.headers).get("if-none-match") for record in asked]
    assert conditions == [None, None, b'"1"']


def test_a_request_without_a_reply_is_handled_and_not_answered(deployment: Deployment):
    replies = len(records_of(deployment, "replies"))
    accepted = [deployment.gateway.post("/events/noted") for _ in range(3)]
    asked = deployment.gateway.get("/items/noted")
    fetched = deployment.gateway.fetch(accepted[0].correlation_id)

    assert [response.status for response in accepted] == [202] * 3
    assert accepted[0].json == {
        "correlation_id": accepted[0].correlation_id,
        "status": "accepted",
    }
    assert asked.body == b"noted-4"
    assert (fetched.status, fetched.json["type"]) == (404, "/problems/unknown-reply")
    assert len(records_of(deployment, "replies")) == replies + 1


def dom_of(url: str, profile: Path) -> str:
    """Return the document that Chromium shows at *url*, after its scripts have run."""
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
        f"--user-data-dir={profile}", "--virtual-time-budget=10000", url,
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, timeout=BROWSER_LIMIT_S, check=True)
    return ended.stdout.decode()
