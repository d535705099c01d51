"""
Drive responders of other frameworks over HTTP, on Apache Kafka.

    python -m tests.interop [--requests N] [FRAMEWORK ...]

Prints the HTTP status of each case and the share of replies that landed in the partition of the
waiting process. A framework whose programs are missing is skipped. Fails when a status is not as
documented or a request is lost.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.interop.drive import NotStarted, drive
from tests.interop.frameworks import CASES, FRAMEWORKS, Framework, NotBuilt
from tests.interop.report import heading, passed, row
from tests.support.deployment import Deployment
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.apache import ApacheKafka

REPLY_TIMEOUT_S = "3"
PARTITIONS = 12


def write(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def is_built(framework: Framework) -> bool:
    """Build *framework*, or print why it is skipped."""
    reason = framework.unavailable_reason()
    if reason is not None:
        write(f"{framework.name} skipped: {reason}")
        return False
    write(f"building {framework.name} ...")
    framework.prepare()
    return True


def drive_all(frameworks: list[Framework], requests: int, folder: Path) -> bool:
    """Print the row of each of *frameworks*; return whether all passed."""
    routes = folder / "routes.toml"
    routes.write_text("".join(map(routes_of, frameworks)))
    env = {"ROUTES_FILE": str(routes), "REPLY_TIMEOUT_S": REPLY_TIMEOUT_S}
    topics = tuple(topic for framework in frameworks for topic in framework.topics)
    with ApacheKafka() as kafka, EmbeddedRedis() as redis:
        deployment = Deployment(
            kafka, redis, folder, responders=0, env=env, topics=topics, partitions=PARTITIONS
        )
        deployment.prefix = ""  # the topics are written in the responders
        with deployment:
            write(heading())
            done = [drive_one(framework, deployment, requests) for framework in frameworks]
            return all(done)


def drive_one(framework: Framework, deployment: Deployment, requests: int) -> bool:
    """Print the row of *framework*; return whether it passed."""
    try:
        result = drive(framework, deployment, requests)
    except NotStarted as error:
        write(f"{framework.name} does not answer:\n{error}")
        return False
    write(row(framework, result))
    return passed(framework, result)


def routes_of(framework: Framework) -> str:
    """Return the routes to the cases of *framework*."""
    return "".join(
        f'[[route]]\npath = "/{framework.name}/{case}"\ntopic = "{framework.name}.{case}"\n'
        for case in CASES
    )


def main() -> int:
    """Return the exit code: 0 if each framework that ran is as documented."""
    names = [framework.name for framework in FRAMEWORKS]
    parser = argparse.ArgumentParser(prog="python -m tests.interop")
    parser.add_argument("frameworks", nargs="*", metavar="FRAMEWORK", help=", ".join(names))
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    if unknown := set(options.frameworks) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    if (reason := ApacheKafka.unavailable_reason()) is not None:
        write(reason)
        return 2
    chosen = [f for f in FRAMEWORKS if f.name in (options.frameworks or names)]
    try:
        ready = [framework for framework in chosen if is_built(framework)]
    except NotBuilt as error:
        write(str(error))
        return 1
    with tempfile.TemporaryDirectory() as folder:
        return 0 if drive_all(ready, options.requests, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
