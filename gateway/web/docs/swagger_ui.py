"""The API description at ``/openapi.json``, and Swagger UI for it at ``/docs``."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from gateway.web.pages import render

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
_ONE_MINUTE = "max-age=60"
#: For files whose path contains a digest of their content.
_IMMUTABLE = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    mimetype: str


def api_docs(description: Mapping[str, Any]) -> Blueprint:
    """Return ``GET /openapi.json`` with *description*, ``GET /docs`` and the files it loads."""
    blueprint = Blueprint("docs", __name__)
    document = json.dumps(description).encode()
    files = _files()
    version = _digest(*(file.content for file in files.values()))
    page = render("docs.html", folder=f"docs/{version}").encode()

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return _cached(Response(document, mimetype="application/json"), _ONE_MINUTE)

    @blueprint.get("/docs")
    def docs() -> Response:
        response = Response(page, mimetype="text/html")
        response.headers["Content-Security-Policy"] = _POLICY
        return _cached(response, _ONE_MINUTE)

    @blueprint.get("/docs/<of_version>/<name>")
    def file(of_version: str, name: str) -> Response:
        found = files.get(name)
        if found is None or of_version != version:
            raise NotFound("no such file; use the paths that the page at /docs contains")
        return _cached(Response(found.content, mimetype=found.mimetype), _IMMUTABLE)

    return blueprint


def _files() -> dict[str, _File]:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{_PACKAGE} is not installed: pip install -r requirements.txt")
    folder = Path(spec.origin).parent / "dist"
    files = {
        name: _File((folder / name).read_bytes(), mimetype) for name, mimetype in _MIMETYPES.items()
    }
    return files | {"start.js": _File(_START_SCRIPT.read_bytes(), "text/javascript")}


def _cached(response: Response, cache_control: str) -> Response:
    response.headers["Cache-Control"] = cache_control
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.set_etag(_digest(response.get_data()))
    response.make_conditional(request)
    return response


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]
