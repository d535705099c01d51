"""What the types of our problem details mean, for people."""

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from gateway.problems import DOCUMENTED
from gateway.web.pages import kind_page, kinds_page
from gateway.web.responses import page_response, prefers_html


def problem_pages() -> Blueprint:
    """Return ``GET /problems``, which lists them, and ``GET /problems/<kind>``."""
    blueprint = Blueprint("problems", __name__)

    @blueprint.get("/problems")
    def listed() -> Response:
        kinds = DOCUMENTED.values()
        if prefers_html():
            return page_response(kinds_page(kinds))
        return _text("\n\n".join(f"{kind.type_path()}\n{kind.meaning}" for kind in kinds))

    @blueprint.get("/problems/<kind>")
    def explained(kind: str) -> Response:
        problem = DOCUMENTED.get(kind)
        if problem is None:
            raise NotFound(f"no such problem; there are {', '.join(DOCUMENTED)}")
        if prefers_html():
            return page_response(kind_page(problem))
        return _text(
            f"{problem.title}\n\n{problem.meaning}\n\nSending the request again: {problem.retry}"
        )

    return blueprint


def _text(text: str) -> Response:
    return Response(text + "\n", mimetype="text/plain", headers={"Vary": "Accept"})
