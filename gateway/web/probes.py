"""Liveness and readiness probes."""

from collections.abc import Callable

from flask import Blueprint, Response

from gateway.health.readiness import Readiness
from gateway.web.responses import json_response

_HEADERS = {"Cache-Control": "no-store"}


def probes(readiness: Readiness, node: Callable[[], str]) -> Blueprint:
    """
    Return ``GET /livez`` and ``GET /readyz``.

    Args:
        node: returns the id of this worker: several workers share a port.
    """
    blueprint = Blueprint("probes", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return json_response({"status": "alive"}, 200, _HEADERS)

    @blueprint.get("/readyz")
    def readyz() -> Response:
        problems = readiness.problems()
        state = {
            "status": "not ready" if problems else "ready",
            "node": node(),
            "problems": problems,
            "warnings": readiness.warnings(),
        }
        return json_response(state, 503 if problems else 200, _HEADERS)

    return blueprint
