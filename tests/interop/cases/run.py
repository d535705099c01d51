"""Drives the cases of a suite over HTTP and prints a line for each."""

import json
import time

from tests.interop.cases.suite import TIMEOUT, Case, Suite
from tests.interop.drive import START_LIMIT_S, STOP_LIMIT_S, NotStarted, start
from tests.support.deployment import Deployment, Response

JOIN_ATTEMPTS = 12
SHOWN_BYTES = 8


def run_suite(suite: Suite, deployment: Deployment) -> list[str]:
    """
    Start the responder of *suite*, drive its cases in order and stop it.

    Returns:
        What was observed in each case.

    Raises:
        NotStarted: when no case is answered in time.
    """
    responder = start(suite, deployment)
    try:
        deadline_s = time.monotonic() + START_LIMIT_S
        while post(suite.cases[0], deployment).status == 503:
            if responder.returncode is not None or time.monotonic() > deadline_s:
                log = deployment.folder / f"{suite.name}.log"
                raise NotStarted(log.read_text("utf-8", "replace")[-1500:])
        return [observe(case, deployment) for case in suite.cases]
    finally:
        responder.stop(STOP_LIMIT_S)


def post(case: Case, deployment: Deployment) -> Response:
    """Send the request of *case*."""
    headers = {"Content-Type": case.content_type} if case.content_type else {}
    return deployment.gateway.request("POST", case.path, case.body, headers)


def observe(case: Case, deployment: Deployment) -> str:
    """Return the response to *case* as text."""
    observed = ""
    # The consumer of a topic may join later than that of the first.
    for _ in range(1 if case.expected == TIMEOUT else JOIN_ATTEMPTS):
        observed = described(post(case, deployment))
        if case.is_as_expected(observed) or not observed.startswith(TIMEOUT[:-3]):
            break
    return observed


def described(response: Response) -> str:
    """Return status, content type and body; of a problem its status, type and detail."""
    content_type = response.headers["Content-Type"] or "-"
    if content_type == "application/problem+json":
        problem = response.json
        type_ = problem["type"].rpartition("/")[2]
        return f"{response.status} {type_} {problem['detail']}"
    return f"{response.status} {content_type} {shown(response.body)}".strip()


def shown(body: bytes) -> str:
    """Return *body* as text, or its length and first bytes."""
    text = body.decode("utf-8", "replace")
    if not text.replace("\n", "").isprintable():
        return f"{len(body)} bytes {body[:SHOWN_BYTES].hex()}"
    return text.replace("\n", " ")


def lines_of(suite: Suite, observed: list[str]) -> list[str]:
    """Return a line for each case; one that is not as expected has a mark and says what is."""
    lines = []
    for case, found in zip(suite.cases, observed, strict=True):
        line = f"{case.topic:<26} | {case.label:<52} | {found[:100]}"
        if not case.is_as_expected(found):
            line += f" | ! expected {json.dumps(case.expected, ensure_ascii=False)}"
        lines.append(line)
    return lines


def as_expected(suite: Suite, observed: list[str]) -> int:
    """Return the number of cases that are as expected."""
    return sum(map(Case.is_as_expected, suite.cases, observed))
