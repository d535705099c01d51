"""HTML pages without script, for clients that prefer them to JSON."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from flask import Response, request
from jinja2 import Environment, FileSystemLoader

_FOLDER = Path(__file__).parents[1] / "templates"
_STYLE = (_FOLDER / "style.css").read_text(encoding="utf-8")
_TEMPLATES = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    keep_trailing_newline=True,
    trim_blocks=True,
)
_TEMPLATES.globals["style"] = _STYLE
#: Allows the style by its hash, and nothing to be loaded or run.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def render(template: str, **values: Any) -> str:
    """Return the page made of *template* and *values*."""
    return _TEMPLATES.get_template(template).render(values)


def page_response(page: str) -> Response:
    """Return the response with a *page* for a client that prefers HTML."""
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
    }
    return Response(page, headers=headers, mimetype="text/html")


def prefers_html() -> bool:
    """Return whether the client prefers a page to JSON (RFC 9110, section 12.5.1)."""
    accepted = request.accept_mimetypes
    json_q = max(
        accepted.quality(kind) for kind in ("application/problem+json", "application/json")
    )
    return accepted.quality("text/html") > json_q
