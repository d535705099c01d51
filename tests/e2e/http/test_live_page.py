"""The live page in a real browser: what it shows of the processes, and to whom."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.api_clients import ApiClient, keys_table
from tests.support.browser import Browser
from tests.support.deployment import Deploy, Deployment, Gateway
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

ADMIN, SHOP = ApiClient("admin"), ApiClient("shop")


@pytest.fixture
def deployment(deploy: Deploy) -> Iterator[Deployment]:
    with deploy(gateways=2, replies=2, env={"REPLY_TIMEOUT_S": "1"}) as deployment:
        yield deployment


def url_of(gateway: Gateway, path: str = "/live") -> str:
    return f"http://{LOOPBACK}:{gateway.port}{path}"


def row(text: str, column: str, section: str) -> str:
    """Return a JavaScript expression: the text of *column* in the row that contains *text*."""
    return (
        f"[...document.querySelectorAll('#{section} tbody tr')]"
        f".find((row) => row.textContent.includes('{text}'))"
        f"?.querySelector('[data-label=\"{column}\"]')?.innerText"
    )


def test_the_page_shows_all_replicas_and_what_fails_within_seconds(
    deployment: Deployment, tmp_path: Path
):
    one, other = deployment.all_gateways
    with Browser(tmp_path) as browser:
        assert browser.open(url_of(one)) == 200
        browser.wait_for(f"{row('POST /orders', 'State', 'routes')}.includes('idle')")

        # A request to the other replica is seen at once.
        is_ok = f"{row('POST /echo', 'State', 'routes')} === '✔ ok'"
        # Again, since requests of the start may have failed.
        assert wait_until(lambda: bool(other.post("/echo", b"x") and browser.value(is_ok)), 30, 0.5)
        assert browser.value("document.querySelectorAll('#routes svg').length") >= 4
        browser.wait_for("document.querySelectorAll('#processes tbody tr').length === 7")
        browser.wait_for("document.querySelector('#verdict').dataset.state === 'ok'", 20)

        # So is a responder that is killed.
        (responder,) = deployment.named("responder")
        responder.child.kill()
        killed_s = time.monotonic()
        failed = other.post("/orders", b"{}")
        browser.wait_for(f"{row('POST /orders', 'State', 'routes')} === '✖ failing'", 5)
        assert time.monotonic() - killed_s < 5
        assert "✖" in browser.text("#verdict")
        assert "POST /orders: 1 of 1 responses failed" in browser.text("#findings")
        browser.wait_for(
            "document.querySelector('#findings').innerText.includes('responder process')"
        )
        problems = browser.text("#problems")
        assert "503 reply-timeout" in problems
        # Found in logs by its beginning; without its signature it is no key to the reply.
        assert failed.correlation_id.rpartition(".")[0] in problems
        assert failed.correlation_id not in problems

        # What can be copied stays while nothing new comes.
        browser.value("document.querySelector('#problems table').isSelected = true")

        # And replies processes that stop, or are killed.
        first, second = deployment.named("replies")
        first.child.terminate()
        browser.wait_for(
            "[...document.querySelectorAll('#processes tbody tr')]"
            ".some((row) => /replies[^]*■ stopped/.test(row.innerText))",
            5,
        )
        second.child.kill()
        browser.wait_for(
            "[...document.querySelectorAll('#processes tbody tr')]"
            ".some((row) => /replies[^]*✖ silent/.test(row.innerText))",
            10,
        )
        assert "no replies process runs" in browser.text("#findings")
        assert browser.value("document.querySelector('#problems table').isSelected")

        background = "getComputedStyle(document.body).backgroundColor"
        light = browser.value(background)
        browser.prefer("dark")
        assert browser.value(background) != light
        browser.screenshot(tmp_path / "live.png")
        assert (tmp_path / "live.png").stat().st_size > 10_000

        # On a phone nothing is wider than the screen.
        browser.resize(390, 844)
        assert browser.value("document.documentElement.scrollWidth") <= 390
        assert browser.errors == []
        hosts = {urlsplit(url).netloc for url in browser.urls}
        assert hosts == {f"{LOOPBACK}:{one.port}"}

        # Without its gateway the page says that its figures are old.
        one.child.kill()
        browser.wait_for("!document.querySelector('#stale').hidden", 10)
        assert "cannot be reached" in browser.text("#stale")
        assert "The figures below are of" in browser.text("#stale")


def test_with_api_keys_only_an_admin_sees_the_page(deploy: Deploy, tmp_path: Path):
    env = {"API_KEYS": keys_table(ADMIN, SHOP, admin="admin = true\n"), "WEB_CONCURRENCY": "1"}
    with deploy(replies=1, responders=1, env=env, key=ADMIN.key) as deployment:
        gateway = deployment.gateway
        for path in ("/live", "/live/figures"):
            for headers in ({}, SHOP.authorization):
                response = gateway.request("GET", path, headers=headers)
                assert response.status == 401
                assert response.headers["WWW-Authenticate"].startswith("Basic ")
            assert gateway.request("GET", path, headers=ADMIN.authorization).status == 200
        with Browser(tmp_path / "admin", password=ADMIN.key) as browser:
            assert browser.open(url_of(gateway)) == 200
            browser.wait_for(f"{row('POST /echo', 'State', 'routes')}")
            assert [error for error in browser.errors if "401" not in error] == []
        assert ADMIN.key not in deployment.logs()
        assert wait_until(lambda: gateway.get("/").status == 200, 5)
