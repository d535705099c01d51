"""A gateway without servers."""

import pytest

from tests.unit.apps import new_app
from tests.unit.gateway.web.routes.gateway import MAX_BODY_BYTES, ROUTES, Gateway


@pytest.fixture
def new_gateway(poller, publisher, store, redis):
    """Build a gateway."""

    def build(**options):
        draining = [False]
        app = new_app(
            ROUTES,
            poller,
            publisher,
            redis,
            draining=lambda: draining[0],
            max_body_bytes=MAX_BODY_BYTES,
            reply_topic="prefix.replies",
            **options,
        )
        return Gateway(app.test_client(), publisher, poller, store, draining)

    return build


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


@pytest.fixture
def hasty(new_gateway):
    """A gateway that waits 0.1 s for a reply."""
    return new_gateway(reply_timeout_s=0.1)
