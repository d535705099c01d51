"""Whose request is at hand."""

from flask import g

from gateway.clients import ANYBODY, Client


def current_client() -> Client:
    """Return who calls."""
    client: Client = g.get("client", ANYBODY)
    return client
