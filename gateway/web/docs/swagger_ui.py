"""The API description at ``/openapi.json``, and Swagger UI for it at ``/docs``."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound
from werkzeug.wsgi import wrap_file

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


#: Types that are compressed already.
_IMAGES = "image/"


class _File:
    """Constant content: as it is, and compressed when the first client asks for that."""

    def __init__(self, content: bytes, mimetype: str) -> None:
        self.content = content
        self.mimetype = mimetype
        self.etag = _digest(content)

    @cached_property
    def compressed(self) -> bytes:
        # Without the time, all workers send the same bytes under the same ETag.
        return gzip.compress(self.content, mtime=0)

    def response(self, cache_control: str) -> Response:
        """Return the response to the current request, compressed if its client accepts that."""
        if self.mimetype.startswith(_IMAGES):
            response = _response(self.content, self.mimetype)
            response.set_etag(self.etag)
        elif _prefers_gzip():
            response = _response(self.compressed, self.mimetype)
            response.headers["Content-Encoding"] = "gzip"
            response.set_etag(f"{self.etag}-gzip")
            response.vary.add("Accept-Encoding")
        else:
            response = _response(self.content, self.mimetype)
            response.set_etag(self.etag)
            response.vary.add("Accept-Encoding")
        response.headers["Cache-Control"] = cache_control
        response.headers["X-Content-Type-Options"] = "nosniff"
        # Without parts: a Range is ignored, as RFC 9110 (section 14.2) allows.
        response.headers["Accept-Ranges"] = "none"
        response.make_conditional(request)
        return response


def api_docs(description: Mapping[str, Any]) -> Blueprint:
    """Return ``GET /openapi.json`` with *description*, ``GET /docs`` and the files it loads."""
    blueprint = Blueprint("docs", __name__)
    document = _File(json.dumps(description).encode(), "application/json")
    files = _files()
    version = _digest(*(file.content for file in files.values()))
    page = _File(render("docs.html", folder=f"docs/{version}").encode(), "text/html")

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return document.response(_ONE_MINUTE)

    @blueprint.get("/docs")
    def docs() -> Response:
        response = page.response(_ONE_MINUTE)
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    @blueprint.get("/docs/<of_version>/<name>")
    def file(of_version: str, name: str) -> Response:
        found = files.get(name)
        if found is None or of_version != version:
            raise NotFound("no such file; use the paths that the page at /docs contains")
        return found.response(_IMMUTABLE)

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


def _response(content: bytes, mimetype: str) -> Response:
    """Return *content* as a file: the server sends it without a copy for each client."""
    file = wrap_file(request.environ, BytesIO(content))
    response = Response(file, mimetype=mimetype, direct_passthrough=True)
    response.content_length = len(content)
    return response


def _prefers_gzip() -> bool:
    """Return whether the client accepts gzip, and does not prefer plain bytes to it."""
    accepted = request.accept_encodings
    gzip_q = accepted.quality("gzip")
    return gzip_q > 0 and gzip_q >= accepted.quality("identity")


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]
