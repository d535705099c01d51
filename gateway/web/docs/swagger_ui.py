"""The API description at ``/openapi.json``, and Swagger UI for it at ``/docs``."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from gateway.web.pages.files import IMMUTABLE, ONE_MINUTE, ConstantFile, digest
from gateway.web.pages.html import render

#: The package that contains Swagger UI. Its code is not run; its files are served.
_PACKAGE = "flask_swagger_ui"
_MIMETYPES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_START_SCRIPT = Path(__file__).parent / "start.js"
#: Everything comes from the gateway itself; Swagger UI has its icons in data: URLs.
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def api_docs(description: Mapping[str, Any]) -> Blueprint:
    """Return ``GET /openapi.json`` with *description*, ``GET /docs`` and the files it loads."""
    blueprint = Blueprint("docs", __name__)
    document = ConstantFile(json.dumps(description).encode(), "application/json")
    files = _files()
    version = digest(*(file.content for file in files.values()))
    page = ConstantFile(render("docs.html", folder=f"docs/{version}").encode(), "text/html")

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return document.response(ONE_MINUTE)

    @blueprint.get("/docs")
    def docs() -> Response:
        response = page.response(ONE_MINUTE)
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    @blueprint.get("/docs/<of_version>/<name>")
    def file(of_version: str, name: str) -> Response:
        found = files.get(name)
        if found is None or of_version != version:
            raise NotFound("no such file; use the paths that the page at /docs contains")
        return found.response(IMMUTABLE)

    return blueprint


def _files() -> dict[str, ConstantFile]:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{_PACKAGE} is not installed: pip install -r requirements.txt")
    folder = Path(spec.origin).parent / "dist"
    files = {
        name: ConstantFile((folder / name).read_bytes(), mimetype)
        for name, mimetype in _MIMETYPES.items()
    }
    return files | {"start.js": ConstantFile(_START_SCRIPT.read_bytes(), "text/javascript")}
