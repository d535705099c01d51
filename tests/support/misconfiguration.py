"""A deployment with a wrong setting: each process reports it in one line."""

import time

from tests.support.deployment import Deployment, Process
from tools.devstack.waiting import wait_until

LIMIT_S = 30.0
#: Maximum time until the cause is reported, from the first response of the gateway, in seconds.
REPORT_S = 5.0


def assert_reported(deployment: Deployment, cause: str, setting: str) -> float:
    """
    Start the processes; check that each logs a line with *cause* and *setting*, and /readyz too.

    Requests are rejected meanwhile, and no process ends. Stops *deployment*.

    Returns:
        the seconds from the start to the last report.
    """

    def is_logged_by(process: Process) -> bool:
        return any(cause in line and setting in line for line in process.logged().splitlines())

    def is_reported() -> bool:
        try:
            problems = gateway.get("/readyz").json["problems"]
        except OSError:  # it is starting
            return False
        return any(cause in problem and setting in problem for problem in problems)

    try:
        started_s = time.monotonic()
        others = [deployment.start("replies"), deployment.start("responder")]
        gateway = deployment.start_gateway()
        assert wait_until(gateway.responds, LIMIT_S), deployment.logs()
        up_s = time.monotonic()
        assert wait_until(is_reported, REPORT_S), gateway.get("/readyz").body
        assert wait_until(lambda: is_logged_by(gateway), REPORT_S), gateway.logged()
        left_s = max(up_s + REPORT_S - time.monotonic(), 0)
        assert wait_until(lambda: all(map(is_logged_by, others)), left_s), deployment.logs()
        took_s = time.monotonic() - started_s
        rejected = gateway.post("/echo", b"x")
        assert [p.log.name for p in deployment.processes if p.child.returncode is not None] == []
    finally:
        deployment.__exit__()
    logs = deployment.logs()
    assert (rejected.status, rejected.json["sent"]) == (503, "no")
    assert rejected.elapsed_s < deployment.settings.reply_timeout_s
    assert "Traceback" not in logs
    return took_s
