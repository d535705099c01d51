"""What the bodies of a route must look like: a JSON Schema."""

from typing import Any


class BodySchema:
    """
    A JSON Schema (Draft 2020-12) that bodies must fit.

    Args:
        document: the schema as it was parsed.
    """

    def __init__(self, document: Any) -> None:
        self.document = document
