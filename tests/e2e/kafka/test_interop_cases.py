"""The cases that `make interop` drives for other frameworks, with our own responder."""

import pytest

from tests.interop.cases.run import as_expected, lines_of, run_suite
from tests.interop.cases.suites import SUITES
from tests.support.deployment import Deploy

pytestmark = pytest.mark.e2e


def test_our_responder_passes_the_cases_of_a_plain_client(deploy: Deploy):
    (suite,) = [suite for suite in SUITES if suite.name == "rendezvous"]
    suite.prepare()
    with deploy(gateways=0, responders=0, topics=tuple(suite.topics), partitions=1) as deployment:
        routes = deployment.folder / "routes.toml"
        routes.write_text(suite.routes)
        deployment.start_gateway(ROUTES_FILE=str(routes), WEB_CONCURRENCY="1", REPLY_TIMEOUT_S="3")
        deployment.wait_until_ready()

        observed = run_suite(suite, deployment)

    assert as_expected(suite, observed) == len(suite.cases), lines_of(suite, observed)
