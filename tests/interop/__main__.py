"""
Drive responders of other frameworks over HTTP, and let their requesters call ours.

    python -m tests.interop [--requests N] [FRAMEWORK ...] [--requesters FRAMEWORK ...]
    python -m tests.interop --cases [FRAMEWORK ...]

Runs on Apache Kafka. Prints the HTTP status of each case and the share of replies that landed in
the partition of the waiting process; then the outcome of each call of a requester. --cases prints
the response in every way in which a handler of the framework can end. A framework whose programs
are missing is skipped. Fails when a response or a call is not as documented, or a request is lost.
Without names all run.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from tests.interop.calls import (
    ALLOWED,
    REPLY_TOPICS,
    REQUESTERS,
    Requester,
    answered,
    call_rows,
    outcomes_of,
)
from tests.interop.cases.run import as_expected, lines_of, run_suite
from tests.interop.cases.suite import Suite
from tests.interop.cases.suites import SUITES
from tests.interop.drive import NotStarted, drive
from tests.interop.frameworks import CASES, FRAMEWORKS, Framework
from tests.interop.programs import ROOT, NotBuilt, Program
from tests.interop.report import heading, passed, row
from tests.support.deployment import Deployment
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.apache import ApacheKafka

REPLY_TIMEOUT_S = "3"
PARTITIONS = 12

P = TypeVar("P", bound=Program)


def write(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def is_built(framework: Program) -> bool:
    """Build *framework*, or print why it is skipped."""
    reason = framework.unavailable_reason()
    if reason is not None:
        write(f"{framework.name} skipped: {reason}")
        return False
    write(f"building {framework.sources.relative_to(ROOT)} ...")
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


def run_cases(suites: list[Suite], folder: Path) -> bool:
    """Print the cases of each of *suites*; return whether all are as expected."""
    routes = folder / "case_routes.toml"
    routes.write_text("".join(suite.routes for suite in suites))
    env = {"ROUTES_FILE": str(routes), "REPLY_TIMEOUT_S": REPLY_TIMEOUT_S}
    topics = tuple(topic for suite in suites for topic in suite.topics)
    expected = passed_cases = 0
    with ApacheKafka() as kafka, EmbeddedRedis() as redis:
        deployment = Deployment(kafka, redis, folder, responders=0, env=env, topics=topics)
        deployment.prefix = ""  # the topics are written in the responders
        with deployment:
            for suite in suites:
                expected += len(suite.cases)
                try:
                    observed = run_suite(suite, deployment)
                except NotStarted as error:
                    write(f"{suite.name} does not answer:\n{error}")
                    continue
                write("\n".join(lines_of(suite, observed)))
                passed_cases += as_expected(suite, observed)
    write(f"{passed_cases} of {expected} cases as expected")
    return passed_cases == expected


def let_all_call(requesters: list[Requester], folder: Path) -> bool:
    """Print the calls of each of *requesters* to our responder; return whether all passed."""
    env = {"RESPONDER_REPLY_TOPICS": ALLOWED, "REPLY_TIMEOUT_S": REPLY_TIMEOUT_S}
    expected = passed_calls = 0
    with ApacheKafka() as kafka, EmbeddedRedis() as redis:
        # With a gateway, whose readiness shows that the responder answers.
        deployment = Deployment(kafka, redis, folder, env=env, topics=REPLY_TOPICS, partitions=3)
        deployment.prefix = ""  # the topics are written in the requesters
        with deployment:
            for requester in requesters:
                outcomes = outcomes_of(requester, deployment)
                write("\n".join(call_rows(requester, outcomes)))
                expected += len(requester.expected)
                passed_calls += answered(requester, outcomes)
            write(f"{passed_calls} of {expected} calls answered as expected")
            if passed_calls < expected:
                write(deployment.logs())
    return passed_calls == expected


def routes_of(framework: Framework) -> str:
    """Return the routes to the cases of *framework*."""
    return "".join(
        f'[[route]]\npath = "/{framework.name}/{case}"\ntopic = "{framework.name}.{case}"\n'
        for case in CASES
    )


def chosen(
    parser: argparse.ArgumentParser, programs: Sequence[P], names: list[str] | None
) -> list[P]:
    """Return those of *programs* with *names*; all if there are none, or if "all" is one."""
    known = [program.name for program in programs]
    if unknown := set(names or ()) - {*known, "all"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(known)}, all")
    wanted = set(known) if not names or "all" in names else set(names)
    return [program for program in programs if program.name in wanted]


def main() -> int:
    """Return the exit code: 0 if each framework that ran is as documented."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop")
    parser.add_argument(
        "frameworks", nargs="*", metavar="FRAMEWORK", help=", ".join(f.name for f in FRAMEWORKS)
    )
    parser.add_argument(
        "--requesters", nargs="*", metavar="FRAMEWORK", help=", ".join(r.name for r in REQUESTERS)
    )
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument(
        "--cases", nargs="*", metavar="FRAMEWORK", help=", ".join(s.name for s in SUITES)
    )
    options = parser.parse_args()
    if (reason := ApacheKafka.unavailable_reason()) is not None:
        write(reason)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = parts(parser, options, Path(folder))
        except NotBuilt as error:
            write(str(error))
            return 1
        return 0 if all(done) else 1


def parts(parser: argparse.ArgumentParser, options: argparse.Namespace, folder: Path) -> list[bool]:
    """Run the parts that *options* choose; return whether each passed."""
    if options.cases is not None:
        suites = [suite for suite in chosen(parser, SUITES, options.cases) if is_built(suite)]
        return [not suites or run_cases(suites, folder)]
    # Those of one part alone leave out the other.
    has_responders = bool(options.frameworks) or options.requesters is None
    has_requesters = not options.frameworks or options.requesters is not None
    responders = chosen(parser, FRAMEWORKS, options.frameworks) if has_responders else []
    requesters = chosen(parser, REQUESTERS, options.requesters) if has_requesters else []
    responders = [framework for framework in responders if is_built(framework)]
    requesters = [requester for requester in requesters if is_built(requester)]
    return [
        not responders or drive_all(responders, options.requests, folder),
        not requesters or let_all_call(requesters, folder),
    ]


if __name__ == "__main__":
    sys.exit(main())
