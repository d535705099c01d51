"""Starts a responder, sends it each case over HTTP, and measures where its replies land."""

import itertools
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.interop.frameworks import CASES, Framework
from tests.interop.partitions import straight_and_all, wanted_partitions
from tests.interop.programs import ROOT, Program
from tests.support.deployment import Deployment
from tests.support.records import records_of
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import start_process

START_LIMIT_S = 90.0
STOP_LIMIT_S = 10.0
THREADS = 8
JOIN_ATTEMPTS = 4
BODY = b"hello"
HEADERS = {"Content-Type": "text/plain"}


class NotStarted(Exception):
    """Raised when a responder does not answer, with the end of its log."""


@dataclass(frozen=True)
class Result:
    """
    What one framework's responder did.

    Args:
        statuses: HTTP status of each case.
        answered: requests of the measurement with the expected response, of *sent*.
        straight: replies in the partition where they were awaited, of *replies*.
    """

    statuses: Mapping[str, int]
    sent: int
    answered: int
    straight: int
    replies: int


def drive(framework: Framework, deployment: Deployment, requests: int) -> Result:
    """
    Start the responder of *framework*, drive it and stop it.

    Raises:
        NotStarted: when it does not answer in time.
    """
    responder = start(framework, deployment)
    try:
        _wait_until_it_answers(framework, deployment, responder)
        statuses = {case: _status(framework, deployment, case) for case in CASES}
        with ThreadPoolExecutor(THREADS) as pool:
            done = pool.map(
                lambda _: _post(framework, deployment, "text"), itertools.repeat(None, requests)
            )
            found = [correlation_id for response, correlation_id in done if response == 200]
        straight, replies = _straight(framework, deployment, set(found))
    finally:
        responder.stop(STOP_LIMIT_S)
    return Result(statuses, requests, len(found), straight, replies)


def start(framework: Program, deployment: Deployment) -> Child:
    """Start the responder of *framework*."""
    # As the responder of the Procfile; those of other frameworks read BOOTSTRAP only.
    env = deployment.environment | {"BOOTSTRAP": deployment.kafka.address, "PYTHONPATH": str(ROOT)}
    log = deployment.folder / f"{framework.name}.log"
    return start_process(framework.run, env, log, framework.folder)


def _wait_until_it_answers(framework: Framework, deployment: Deployment, responder: Child) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while responder.returncode is None and time.monotonic() < deadline_s:
        if _post(framework, deployment, "text")[0] == 200:
            return
    log = deployment.folder / f"{framework.name}.log"
    raise NotStarted(log.read_text("utf-8", "replace")[-1500:])


def _status(framework: Framework, deployment: Deployment, case: str) -> int:
    """Return the HTTP status of *case*."""
    status = 0
    # A consumer that joins later than that of "text" does not see the first requests.
    for _ in range(JOIN_ATTEMPTS):
        status = _post(framework, deployment, case)[0]
        if status == framework.expected[case]:
            break
    return status


def _post(framework: Framework, deployment: Deployment, case: str) -> tuple[int, str]:
    response = deployment.gateway.request("POST", f"/{framework.name}/{case}", BODY, HEADERS)
    if case == "text" and response.status == 200 and response.body != BODY.upper():
        return 0, ""
    return response.status, response.headers["X-Correlation-ID"] or ""


def _straight(framework: Framework, deployment: Deployment, ids: set[str]) -> tuple[int, int]:
    """Return how many replies are in their partition, and how many replies there are."""
    requests = records_of(deployment, f"{framework.name}.text")
    wanted = wanted_partitions(requests, deployment.partitions)
    replies: list[Any] = records_of(deployment, "replies")
    return straight_and_all({id_: wanted[id_] for id_ in ids}, replies)
