"""
The rules of the house, read off the imports.

gateway -> replies <- responder. Each library has the rooms in which it may be used, so that it can
be understood, faked and replaced there. Entry points alone know the environment.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "replies", "responder")
ENTRY_POINTS = {
    "gateway/check.py",
    "replies/__main__.py",
    "responder/__main__.py",
    "wsgi.py",
    "gunicorn.conf.py",
}
#: The modules beside the packages.
ROOT_MODULES = {file.stem for file in ROOT.glob("*.py")}
SOURCES = sorted(
    str(file.relative_to(ROOT))
    for place in (ROOT, *(ROOT / package for package in PACKAGES))
    for file in (place.glob("*.py") if place == ROOT else place.rglob("*.py"))
)

#: Where each library may be imported.
ROOMS = {
    "flask": {
        "gateway/app.py",
        "gateway/bodies.py",
        "gateway/callers.py",
        "gateway/cors.py",
        "gateway/docs.py",
        "gateway/exchange.py",
        "gateway/lean_flask.py",
        "gateway/probes.py",
        "gateway/problem_pages.py",
        "gateway/responses.py",
        "gateway/status.py",
    },
    "werkzeug": {
        "gateway/app.py",
        "gateway/docs.py",
        "gateway/lane.py",
        "gateway/lean_flask.py",
        "gateway/problem_pages.py",
        "gateway/responses.py",
    },
    "kafka": {
        "gateway/publisher.py",
        "gateway/idempotent_producer.py",
        "gateway/quick_producer.py",
        "replies/consuming.py",
        "replies/broadcast.py",
        "replies/listener.py",
        "responder/worker.py",
        "replies/prompt_client.py",
        "replies/__main__.py",
        "responder/__main__.py",
    },
    "redis": {
        "replies/hints.py",
        "replies/round_trip.py",
        "replies/store.py",
        "gateway/claims.py",
        "gateway/tally.py",
        "responder/redis_journal.py",
    },
    "jsonschema": {
        "gateway/schema.py",
        "gateway/schema_document.py",
        "gateway/schema_keywords.py",
    },
    "referencing": {"gateway/schema.py", "gateway/schema_document.py"},
    "itsdangerous": {"replies/correlation.py"},
    "gunicorn": {
        "gateway/access_log.py",
        "gateway/http_request.py",
        "gateway/http_response.py",
        "gateway/worker.py",
    },
}
#: What may be used without installing anything, and which of our modules it takes.
STANDARD_LIBRARY_ONLY = {
    "replies/contract.py": {"replies.errors"},
    "replies/errors.py": set(),
    "replies/saved.py": {"replies.contract", "replies.errors"},
    "responder/registry.py": {"replies.contract"},
    "responder/sql_journal.py": {"replies", "replies.contract", "responder.registry"},
}


def imported(source: str) -> Iterator[str]:
    """Yield the dotted name of each module that *source* imports, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield node.module or ""
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield ast.unparse(node)


def imports_of(path: str) -> set[str]:
    return set(imported((ROOT / path).read_text(encoding="utf-8")))


def tops(path: str) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


def third_party(names: set[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}


def is_in(path: str, package: str) -> bool:
    return path.startswith(package + "/")


def test_there_is_something_to_read():
    assert set(SOURCES) > ENTRY_POINTS
    assert {path.partition("/")[0] for path in SOURCES} > set(PACKAGES)


@pytest.mark.parametrize("path", SOURCES)
def test_gateway_and_responder_never_import_each_other(path):
    if is_in(path, "gateway"):
        assert "responder" not in tops(path)
    if is_in(path, "responder"):
        assert "gateway" not in tops(path)


@pytest.mark.parametrize("path", [path for path in SOURCES if is_in(path, "replies")])
def test_replies_imports_nothing_of_ours(path):
    ours = tops(path) & ({"gateway", "responder", "devstack", "tests"} | ROOT_MODULES)

    assert ours <= ({"settings", "logs", "preflight", "startup"} if path in ENTRY_POINTS else set())


@pytest.mark.parametrize("path", [path for path in SOURCES if "/" in path])
def test_packages_leave_the_root_modules_to_their_entry_points(path):
    if path not in ENTRY_POINTS:
        assert not tops(path) & ROOT_MODULES


@pytest.mark.parametrize("path", SOURCES)
def test_the_product_knows_nothing_of_its_tests_and_its_devstack(path):
    assert not tops(path) & {"tests", "devstack", "bench", "pytest", "fakeredis"}


@pytest.mark.parametrize("path", SOURCES)
def test_a_library_is_used_in_its_rooms_only(path):
    for library, rooms in ROOMS.items():
        if library in tops(path):
            assert path in rooms, f"{path} imports {library}"


@pytest.mark.parametrize("path", SOURCES)
def test_every_library_has_its_rooms(path):
    unknown = {name.partition(".")[0] for name in third_party(imports_of(path))}

    assert unknown <= set(ROOMS) | set(PACKAGES) | ROOT_MODULES


@pytest.mark.parametrize("path", sorted(STANDARD_LIBRARY_ONLY))
def test_the_wire_contract_and_the_sql_journal_need_the_standard_library_only(path):
    assert third_party(imports_of(path)) == STANDARD_LIBRARY_ONLY[path]


@pytest.mark.parametrize("path", [path for path in SOURCES if "/" in path])
def test_only_entry_points_read_the_environment(path):
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        # A WSGI environment, which is called environ too, is another matter.
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os":
            names.add(node.attr)
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            names.update(alias.name for alias in node.names)

    assert path in ENTRY_POINTS or not names & {"environ", "environb", "getenv", "putenv"}


@pytest.mark.parametrize("path", [path for path in SOURCES if "/" in path])
def test_clients_are_built_by_entry_points_or_by_what_they_are_handed_to(path):
    """KafkaConsumer(...) and KafkaProducer(...) are called in entry points only."""
    if path in ENTRY_POINTS:
        return
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            built = ast.unparse(node.func)
            assert built not in {"KafkaConsumer", "KafkaProducer", "KafkaAdminClient", "Redis"}


def test_importing_a_package_starts_nothing():
    """No module of the packages calls anything at its top level but to define things."""
    for path in SOURCES:
        if "/" not in path or path in ENTRY_POINTS:
            continue
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
            assert not isinstance(node, (ast.Expr, ast.With, ast.For)) or isinstance(
                node.value if isinstance(node, ast.Expr) else None, ast.Constant
            ), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a.b", {"a.b"}),
        ("from a.b import c", {"a.b"}),
        ("def f():\n    import a", {"a"}),
        ("if True:\n    from a import b", {"a"}),
        ("importlib.import_module('a')", {"importlib.import_module('a')"}),
    ],
)
def test_no_import_is_overlooked(source, found):
    assert set(imported(source)) == found
