"""What the types of our problem details mean, for people."""

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from gateway.errors import DOCUMENTED


def problem_pages() -> Blueprint:
    """Return ``GET /problems/<kind>``."""
    blueprint = Blueprint("problems", __name__)

    @blueprint.get("/problems/<kind>")
    def page(kind: str) -> Response:
        problem = DOCUMENTED.get(kind)
        if problem is None:
            raise NotFound(f"no such problem; there are {', '.join(DOCUMENTED)}")
        return Response(f"{problem.title}\n\n{problem.meaning}\n", mimetype="text/plain")

    return blueprint
