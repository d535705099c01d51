"""No browser guesses the type of any response."""

import pytest

from gateway.routing.table import Route

ROUTES = (Route("/echo", "echo", ("GET", "POST")), Route("/folder/", "echo"))


@pytest.fixture
def client(new_app):
    return new_app(ROUTES, cors_origins=("https://a.example",)).test_client()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/echo", 200),
        ("GET", "/echo", 200),
        ("HEAD", "/echo", 200),
        ("OPTIONS", "/echo", 204),
        ("OPTIONS", "/folder/", 204),
        ("PUT", "/echo", 405),
        ("POST", "/folder", 308),
        ("POST", "/none", 404),
        ("GET", "/replies/x", 404),
        ("DELETE", "/replies/x", 404),
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/problems", 200),
        ("GET", "/problems/not-sent", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_every_response_says_nosniff(client, method, path, status, accept):
    headers = {"Accept": accept}
    if method == "OPTIONS":
        headers |= {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    response = client.open(path, method=method, headers=headers)

    assert response.status_code == status
    assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]


def test_a_cancellation_says_nosniff(client, publisher):
    publisher.responder = lambda request: None
    accepted = client.post("/echo", headers={"Prefer": "respond-async"})
    cancelled = client.delete(accepted.headers["Location"])

    for response in (accepted, cancelled):
        assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert (accepted.status_code, cancelled.status_code) == (202, 204)
