"""The live page at ``/live``, its files, and the figures that it shows."""

import json
from collections.abc import Callable
from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from gateway.live.figures import LiveFigures
from gateway.live.recent_problems import RecentProblems
from gateway.problems import Problem
from gateway.web.auth import current_client
from gateway.web.pages.files import IMMUTABLE, OWN_FILES_ONLY, ConstantFile, digest
from gateway.web.pages.html import render
from gateway.web.responses import NOSNIFF
from rendezvous import __version__

_FOLDER = Path(__file__).parents[1] / "static"
_MIMETYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
#: Prefix of the endpoints of routes.toml's routes.
ROUTE_ENDPOINT = "route-"


def live_page(figures: LiveFigures, require_admin: Callable[[], None]) -> Blueprint:
    """
    Return ``GET /live``, ``GET /live/figures`` and the files of the page.

    Args:
        require_admin: raises Problem unless the current request may see them.
    """
    blueprint = Blueprint("live", __name__)
    files = {
        file.name: ConstantFile(file.read_bytes(), _MIMETYPES[file.suffix])
        for file in sorted(_FOLDER.iterdir())
    }
    version = digest(*(file.content for file in files.values()))
    page = ConstantFile(
        render("live.html", folder=f"live/files/{version}", version=__version__).encode(),
        "text/html",
    )

    @blueprint.before_request
    def check_client() -> None:
        # The files are the same for everybody, and in the source.
        if request.endpoint != "live.file":
            require_admin()

    @blueprint.get("/live")
    def live() -> Response:
        response = page.response("no-cache")
        response.headers["Content-Security-Policy"] = OWN_FILES_ONLY
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @blueprint.get("/live/figures")
    def read_figures() -> Response:
        body = json.dumps(figures.read(), separators=(",", ":"))
        headers = [("Cache-Control", "no-store"), NOSNIFF]
        return Response(body, mimetype="application/json", headers=headers)

    @blueprint.get("/live/files/<of_version>/<name>")
    def file(of_version: str, name: str) -> Response:
        found = files.get(name)
        if found is None or of_version != version:
            raise NotFound("no such file; use the paths that the page at /live contains")
        return found.response(IMMUTABLE)

    return blueprint


def note_problem(recent: RecentProblems, problem: Problem) -> None:
    """Add *problem* to the *recent* ones if the current request is for a route."""
    rule = request.url_rule
    if rule is not None and rule.endpoint.startswith(ROUTE_ENDPOINT):
        recent.add(problem, f"{request.method} {rule.rule}", current_client().name)
