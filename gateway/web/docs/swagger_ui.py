"""Where the gateway describes itself: ``/openapi.json``, and ``/docs`` to browse and to try it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

#: The package that brings Swagger UI along. Nothing of it is run: its files are served.
_SWAGGER_UI = "flask_swagger_ui"
_START = """\
window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    defaultModelsExpandDepth: 0,
  });
});
"""
#: Swagger UI draws its icons from data: URLs. It asks nobody but this gateway.
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_MODEST = "max-age=60"
#: Their path changes with their content.
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    mimetype: str


def api_docs(description: Mapping[str, Any]) -> Blueprint:
    """Return ``GET /openapi.json``, which is *description*, ``GET /docs`` and what it loads."""
    blueprint = Blueprint("docs", __name__)
    document = json.dumps(description).encode()
    files = _files()
    version = _digest(*(file.content for file in files.values()))
    page = _page(version).encode()

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return _cached(Response(document, mimetype="application/json"), _MODEST)

    @blueprint.get("/docs")
    def docs() -> Response:
        response = Response(page, mimetype="text/html")
        response.headers["Content-Security-Policy"] = _POLICY
        return _cached(response, _MODEST)

    @blueprint.get("/docs/<of_version>/<name>")
    def file(of_version: str, name: str) -> Response:
        found = files.get(name)
        if found is None or of_version != version:
            raise NotFound("no such file; the page at /docs names those there are")
        return _cached(Response(found.content, mimetype=found.mimetype), _FOR_EVER)

    return blueprint


def _files() -> dict[str, _File]:
    spec = find_spec(_SWAGGER_UI)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{_SWAGGER_UI} is not installed: pip install -r requirements.txt")
    folder = Path(spec.origin).parent / "dist"
    types = {
        "swagger-ui.css": "text/css",
        "swagger-ui-bundle.js": "text/javascript",
        "favicon-32x32.png": "image/png",
    }
    files = {name: _File((folder / name).read_bytes(), kind) for name, kind in types.items()}
    return files | {"start.js": _File(_START.encode(), "text/javascript")}


def _page(version: str) -> str:
    return f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Rendezvous</title>
<link rel="stylesheet" href="docs/{version}/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/{version}/favicon-32x32.png">
<div id="swagger-ui"></div>
<script src="docs/{version}/swagger-ui-bundle.js"></script>
<script src="docs/{version}/start.js"></script>
</html>
"""


def _cached(response: Response, how_long: str) -> Response:
    response.headers["Cache-Control"] = how_long
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.set_etag(_digest(response.get_data()))
    response.make_conditional(request)
    return response


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]
