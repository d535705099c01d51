"""Liveness and readiness probes."""

from collections.abc import Callable

from flask import Blueprint, Response, request

from gateway.health.readiness import Readiness
from gateway.web.responses import json_response
from rendezvous import __version__

_HEADERS = {"Cache-Control": "no-store"}


#: The warnings for strangers, which may name what the problems name.
_HIDDEN = "send an API key or a token to read the warnings"


def probes(
    readiness: Readiness, node: Callable[[], str], may_see_details: Callable[[], bool]
) -> Blueprint:
    """
    Return ``GET /livez`` and ``GET /readyz``, which ``?local`` restricts to this process.

    Args:
        node: returns the id of this worker: several workers share a port.
        may_see_details: returns whether the client of the current request may read addresses,
            topics, causes and the version.
    """
    blueprint = Blueprint("probes", __name__)

    def problems() -> list[str]:
        if "local" in request.args:
            return readiness.local_problems()
        found = readiness.problems()
        if found and not may_see_details():
            return readiness.subjects() or ["not ready"]
        return found

    @blueprint.get("/livez")
    def livez() -> Response:
        return json_response({"status": "alive"}, 200, _HEADERS)

    @blueprint.get("/readyz")
    def readyz() -> Response:
        found, warnings = problems(), readiness.warnings()
        details = {"version": __version__}
        if not may_see_details():
            warnings = warnings and [_HIDDEN]
            details = {}
        state = {
            "status": "not ready" if found else "ready",
            "node": node(),
            "problems": found,
            "warnings": warnings,
            **details,
        }
        return json_response(state, 503 if found else 200, _HEADERS)

    return blueprint
