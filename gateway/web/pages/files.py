"""Constant files that pages load: compressed, cached, with an ETag."""

import gzip
import hashlib
from functools import cached_property
from io import BytesIO

from flask import Response, request
from werkzeug.wsgi import wrap_file

from gateway.web.conditions import evaluate_conditions

#: Cache-Control of files whose content may change with the next release.
ONE_MINUTE = "max-age=60"
#: Cache-Control of files whose path contains a digest of their content.
IMMUTABLE = "public, max-age=31536000, immutable"
#: Content-Security-Policy of a page whose files all come from the gateway itself.
OWN_FILES_ONLY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
#: Types that are compressed already.
_IMAGES = "image/"


class ConstantFile:
    """Constant content: as it is, and compressed when the first client asks for that."""

    def __init__(self, content: bytes, mimetype: str) -> None:
        self.content = content
        self.mimetype = mimetype
        self.etag = digest(content)

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
        evaluate_conditions(response, request.environ)
        return response


def digest(*parts: bytes) -> str:
    """Return a short name for the content *parts*."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


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
