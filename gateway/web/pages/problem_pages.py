"""Pages that explain the problem types."""

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from gateway.problems import DOCUMENTED
from gateway.web.pages.html import page_response, prefers_html, render
from gateway.web.responses import NOSNIFF


def problem_pages() -> Blueprint:
    """Return ``GET /problems``, the list of the types, and ``GET /problems/<kind>``."""
    blueprint = Blueprint("problems", __name__)

    @blueprint.get("/problems")
    def list_types() -> Response:
        types = DOCUMENTED.values()
        if prefers_html():
            return page_response(render("problem_types.html", title="Problems", types=types))
        return _text("\n\n".join(f"{kind.type_path()}\n{kind.meaning}" for kind in types))

    @blueprint.get("/problems/<kind>")
    def explain(kind: str) -> Response:
        problem = DOCUMENTED.get(kind)
        if problem is None:
            raise NotFound(f"no such problem type; the types are {', '.join(DOCUMENTED)}")
        texts = {"title": problem.title, "meaning": problem.meaning, "retry": problem.retry}
        if prefers_html():
            return page_response(render("problem_type.html", **texts))
        return _text("{title}\n\n{meaning}\n\nRetrying the request: {retry}".format(**texts))

    return blueprint


def _text(text: str) -> Response:
    return Response(text + "\n", mimetype="text/plain", headers=[NOSNIFF, ("Vary", "Accept")])
