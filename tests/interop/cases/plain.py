"""Cases of plain clients of Kafka, and of our responder: their examples."""

from tests.interop.cases.suite import TEXT, Case, Suite
from tests.interop.frameworks import FRAMEWORKS, MAVEN, Framework


def _cases(name: str) -> tuple[Case, ...]:
    hello = b"hello"
    nothing = "204 -" if name == "rendezvous" else "204 text/plain"
    cases = (
        Case(f"{name}.text", "upper-cases", hello, TEXT, "200 text/plain HELLO"),
        Case(f"{name}.text", "UTF-8", "ö€".encode(), TEXT, "200 text/plain Ö€"),
        Case(f"{name}.text", "empty body", b"", None, "200 text/plain"),
        Case(f"{name}.nothing", "null", hello, TEXT, nothing),
        Case(f"{name}.status", "status 201", hello, TEXT, "201 text/plain HELLO"),
    )
    if name == "rendezvous":
        refused = Case(
            f"{name}.error", "HandlerError(422)", hello, TEXT, "422 about:blank out of stock"
        )
        return (*cases, refused)
    return (
        *cases,
        Case(f"{name}.error", "status 422", hello, TEXT, "422 text/plain HELLO"),
        Case(f"{name}.copy", "all headers copied", hello, TEXT, "200 text/plain HELLO"),
    )


def _suite(framework: Framework) -> Suite:
    source = framework.source or f"{framework.PARENT}/{framework.name}"
    return Suite(
        framework.name,
        framework.needs,
        framework.build,
        framework.run,
        _cases(framework.name),
        source=source,
    )


_OTHERS = ("spring", "quarkus", "nestjs", "faststream")
PLAIN_SUITES = tuple(_suite(framework) for framework in FRAMEWORKS if framework.name not in _OTHERS)
TRANSACTIONS = Suite(
    "transactions",
    ("java", "mvn"),
    f"{MAVEN} dependency:copy-dependencies",
    "java -Xmx128m -cp 'target/transactions-1.jar:target/dependency/*' TransactionalResponder",
    (
        Case("transactions.reply", "commits", b"hello", TEXT, "200 - committed"),
        Case("transactions.reply", "rolls back, then commits", b"abort", TEXT, "200 - committed"),
    ),
)
