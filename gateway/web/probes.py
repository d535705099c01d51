"""Liveness and readiness probes."""

from collections.abc import Callable

from flask import Blueprint, Response

from gateway.health.readiness import Readiness
from gateway.web.responses import json_response
from rendezvous import __version__

_HEADERS = {"Cache-Control": "no-store"}


#: The warnings for strangers, which may name what the problems name.
_HIDDEN = "send an API key to read the warnings"


def probes(
    readiness: Readiness, node: Callable[[], str], may_see_details: Callable[[], bool]
) -> Blueprint:
    """
    Return ``GET /livez`` and ``GET /readyz``.

    Args:
        node: returns the id of this worker: several workers share a port.
        may_see_details: returns whether the client of the current request may read addresses,
            topics, causes and the version.
    """
    blueprint = Blueprint("probes", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return json_response({"status": "alive"}, 200, _HEADERS)

    @blueprint.get("/readyz")
    def readyz() -> Response:
        problems, warnings = readiness.problems(), readiness.warnings()
        details = {"version": __version__}
        if not may_see_details():
            problems = problems and (readiness.subjects() or ["not ready"])
            warnings = warnings and [_HIDDEN]
            details = {}
        state = {
            "status": "not ready" if problems else "ready",
            "node": node(),
            "problems": problems,
            "warnings": warnings,
            **details,
        }
        return json_response(state, 503 if problems else 200, _HEADERS)

    return blueprint
