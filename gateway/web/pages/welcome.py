"""The welcome page at ``/``: where everything is."""

from flask import Blueprint, Response

from gateway.web.pages.html import page_response, prefers_html, render
from gateway.web.responses import json_response
from rendezvous import __version__


def welcome_page(*, has_live_page: bool, shows_version: bool) -> Blueprint:
    """
    Return ``GET /``: a page, or JSON for clients that do not prefer HTML.

    Args:
        shows_version: whether strangers may read the version.
    """
    blueprint = Blueprint("welcome", __name__)
    links = [("/docs", "the API: every route, to read and to try")]
    if has_live_page:
        links.insert(0, ("/live", "the gateway at work: routes, replies, processes, problems"))
    links += [
        ("/openapi.json", "the API as an OpenAPI document"),
        ("/problems", "the errors, what each means and what to do"),
        ("/readyz", "whether requests would succeed now, and if not, why"),
    ]
    details = {"version": __version__} if shows_version else {}

    @blueprint.get("/")
    def welcome() -> Response:
        if prefers_html():
            page = render("welcome.html", title="Rendezvous", links=links, **details)
            return page_response(page)
        body = {"name": "Rendezvous", **details, "links": dict(links)}
        return json_response(body, 200, {"Vary": "Accept"})

    return blueprint
