"""The imports and libraries that each folder may use."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "replies", "responder", "rendezvous")

#: What each folder may import: folders of ours, then libraries.
#: A folder means its modules and those of its subfolders that have no line of their own.
RULES: dict[str, tuple[set[str], set[str]]] = {
    "rendezvous": (set(), {"itsdangerous"}),
    "rendezvous/process": (
        {"rendezvous", "open_telemetry", "otlp_metrics"},
        {"prometheus_client", "pythonjsonlogger"},
    ),
    "rendezvous/process/monitoring/otlp_metrics.py": (
        {"rendezvous"},
        {"opentelemetry", "prometheus_client"},
    ),
    "rendezvous/process/traces/open_telemetry.py": ({"rendezvous", "process"}, {"opentelemetry"}),
    "rendezvous/kafka_client/patches": (set(), {"kafka"}),
    "rendezvous/kafka_client": ({"rendezvous", "rendezvous/process", "patches"}, {"kafka"}),
    "rendezvous/redis_store": ({"rendezvous", "rendezvous/process"}, {"redis"}),
    "replies": ({"rendezvous/*"}, {"kafka", "redis", "prometheus_client"}),
    "responder": ({"rendezvous/*", "dedup"}, {"kafka", "redis"}),
    "responder/dedup": ({"rendezvous/*", "responder"}, {"redis"}),
    "gateway/problem_details.py": (set(), set()),
    "gateway/client_problems.py": ({"problem_details"}, set()),
    "gateway/problems.py": ({"problem_details", "client_problems"}, set()),
    "gateway/metrics.py": (set(), {"prometheus_client"}),
    "gateway/clients": (
        {"problems", "metrics", "gateway/clients/tokens", "rendezvous/*"},
        {"redis"},
    ),
    "gateway/clients/tokens": ({"clients"}, {"jwt"}),
    "gateway/routing": ({"problems", "rendezvous/*"}, {"jsonschema", "referencing", "regex"}),
    "gateway/exchange": ({"problems", "metrics", "rendezvous/*"}, {"redis"}),
    "gateway/health": (
        {"problems", "metrics", "clients", "routing", "exchange", "rendezvous/*"},
        {"redis"},
    ),
    "gateway/live": (
        {"problems", "metrics", "routing", "exchange", "health", "rendezvous/*"},
        {"prometheus_client"},
    ),
    "gateway/web": (
        {
            *("problems", "metrics", "clients", "routing", "exchange", "health", "live"),
            *("lifecycle", "rendezvous/*"),
        },
        {"flask", "jinja2", "werkzeug"},
    ),
    "gateway/server": (
        {"problems", "metrics", "clients", "rendezvous/process"},
        {"gunicorn", "prometheus_client", "waitress", "werkzeug"},
    ),
    "gateway/bootstrap.py": ({"gateway/*", "rendezvous/*"}, {"flask", "redis"}),
    "gateway": ({"gateway/*", "rendezvous/*", "settings"}, {"flask"}),
}
#: May import settings and read the environment besides those that RULES names.
KNOW_SETTINGS = {
    "rendezvous/process/startup.py",
    "rendezvous/kafka_client/connect.py",
    "replies/__main__.py",
    "responder/__main__.py",
    "gateway/bootstrap.py",
    "gateway/check.py",
    "gateway/config.py",
    "gateway/server/metrics_process.py",
}
#: What handlers, other services and SQL users import: the standard library and each other.
STANDARD_LIBRARY_ONLY = (
    "rendezvous/contract.py",
    "rendezvous/encoding.py",
    "rendezvous/errors.py",
    "rendezvous/framework_replies.py",
    "rendezvous/framework_requests.py",
    "rendezvous/reply.py",
    "rendezvous/reply_headers.py",
    "responder/registry.py",
    "responder/dedup/sql_journal.py",
)
SOURCES = sorted(
    str(file.relative_to(ROOT)) for package in PACKAGES for file in (ROOT / package).rglob("*.py")
)


def imports_of(path: str) -> set[str]:
    return set(imported((ROOT / path).read_text(encoding="utf-8")))


def imported(source: str) -> Iterator[str]:
    """Yield the dotted name of each module that *source* imports, at any level."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            # Of a package each name may be a module of its own.
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = any(name == module_of(source) for source in SOURCES)
                yield name if is_module else node.module or ""
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield ast.unparse(node)


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def rule_of(path: str) -> str:
    """Return the longest line of RULES that *path* falls under."""
    parts = path.split("/")
    for length in range(len(parts), 0, -1):
        if (folder := "/".join(parts[:length])) in RULES:
            return folder
    raise AssertionError(f"{path}: no line of RULES")


def is_allowed(module: str, own: str, allowed: set[str]) -> bool:
    path = module.replace(".", "/")
    target = rule_of(path + ".py" if path + ".py" in SOURCES else path)
    names = {target, target.rpartition("/")[2].removesuffix(".py"), f"{path.partition('/')[0]}/*"}
    if module == "gateway.lifecycle":
        names = {"lifecycle", "gateway/*"}
    return target == own or bool(names & allowed)


def split(names: set[str]) -> tuple[set[str], set[str]]:
    """Return which of the imports are ours and which are of libraries."""
    ours = {name for name in names if name.partition(".")[0] in PACKAGES}
    foreign = {name.partition(".")[0] for name in names - ours} - set(sys.stdlib_module_names)
    return ours, foreign


@pytest.mark.parametrize("path", SOURCES)
def test_a_folder_imports_only_what_its_rule_allows(path):
    own = rule_of(path)
    allowed, libraries = RULES[own]
    ours, foreign = split(imports_of(path))
    if path in KNOW_SETTINGS:
        foreign -= {"settings"}

    assert {name for name in ours if not is_allowed(name, own, allowed)} == set()
    assert foreign <= libraries


@pytest.mark.parametrize("path", STANDARD_LIBRARY_ONLY)
def test_modules_for_handlers_need_the_standard_library_only(path):
    ours, foreign = split(imports_of(path))

    assert foreign == set()
    assert {name.replace(".", "/") + ".py" for name in ours} <= set(STANDARD_LIBRARY_ONLY)


@pytest.mark.parametrize("path", SOURCES)
def test_only_entry_points_read_the_environment(path):
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        # Only attributes of os: a WSGI environment is called environ too.
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os":
            names.add(node.attr)
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            names.update(alias.name for alias in node.names)

    assert path in KNOW_SETTINGS or not names & {"environ", "environb", "getenv", "putenv"}


def test_importing_a_package_starts_nothing():
    """No module calls anything at its top level except to define things."""
    for path in SOURCES:
        if path.endswith("__main__.py") or path in KNOW_SETTINGS:
            continue
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
            is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert is_docstring or not isinstance(node, (ast.Expr, ast.With, ast.For)), (
                f"{path}:{node.lineno}"
            )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a.b", {"a.b"}),
        ("from a.b import c", {"a.b"}),
        ("from gateway import problems", {"gateway.problems"}),
        ("def f():\n    import a", {"a"}),
        ("if True:\n    from a import b", {"a"}),
        ("importlib.import_module('a')", {"importlib.import_module('a')"}),
    ],
)
def test_no_import_is_overlooked(source, found):
    assert set(imported(source)) == found


#: The only folders that use private names of libraries.
PRIVATE_NAMES_ALLOWED = ("rendezvous/kafka_client/patches/", "gateway/server/")
#: os._exit() is documented; the wake-up by Redis waits on a socket that redis-py does not publish.
ALLOWED = {"os._exit", "connection._sock"}


def private_uses(source: str) -> Iterator[str]:
    """Yield each private attribute in *source* that the module itself does not define."""
    nodes = list(ast.walk(ast.parse(source)))
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    own = {getattr(node, "name", "") for node in nodes} | {
        node.attr for node in attributes if ast.unparse(node.value) in {"self", "cls", "super()"}
    }
    for node in attributes:
        is_private = node.attr.startswith("_") and not node.attr.endswith("__")
        if is_private and node.attr not in own and ast.unparse(node) not in ALLOWED:
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if not path.startswith(PRIVATE_NAMES_ALLOWED)]
)
def test_no_module_uses_private_names_of_foreign_objects(path):
    assert list(private_uses((ROOT / path).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("producer._sender.force_close()", ["producer._sender"]),
        ("self._consumer._fetcher", ["self._consumer._fetcher"]),
        ("self._consumer.poll()", []),
        ("class A:\n    def _f(self, other):\n        self._x = other._x, other._f", []),
        ("f.__name__", []),
    ],
)
def test_no_private_name_is_overlooked(source, found):
    assert list(private_uses(source)) == found


def test_no_folder_holds_more_than_a_dozen_modules():
    folders = {file.parent for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    sizes = {str(folder.relative_to(ROOT)): len([*folder.glob("[!_]*.py")]) for folder in folders}

    assert {folder: size for folder, size in sizes.items() if size > 12} == {}
