"""The files by which the product is deployed name only what exists."""

import configparser
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from deploy import healthcheck
from gateway.bootstrap import EXTRA_REDIS_CONNECTIONS
from gateway.routing.table import load_routes
from settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = {field.name.upper() for field in fields(Settings)}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


APP = json.loads(text_of("app.json"))


def test_app_json_sets_only_settings():
    assert set(APP["env"]) <= SETTINGS


def test_app_json_values_are_accepted():
    env = {name: variable["value"] for name, variable in APP["env"].items() if "value" in variable}

    assert Settings.from_env(env, required=()).redis_tls_verify is False


def test_app_json_names_a_plan_of_each_add_on():
    assert [addon["plan"].count(":") for addon in APP["addons"]] == [1, 1]


def test_the_guide_counts_the_connections_to_redis_that_app_json_needs():
    env = {name: int(APP["env"][name]["value"]) for name in ("WEB_CONCURRENCY", "THREADS")}
    counts = {name: one["quantity"] for name, one in APP["formation"].items()}
    web = counts["web"] * env["WEB_CONCURRENCY"] * (env["THREADS"] + EXTRA_REDIS_CONNECTIONS)
    # Without a journal: one to poll for cancelled requests, one for the live page.
    assert "RESPONDER_JOURNAL" not in APP["env"]
    responder = counts["responder"] * 2

    assert f"= {web + counts['replies'] + responder} at most" in text_of("docs/guides/deploy.md")


def test_app_json_starts_each_process_of_the_procfile():
    procfile = re.findall(r"^(\w+): ", text_of("Procfile"), re.MULTILINE)

    assert procfile == ["release", *APP["formation"]]


def test_the_slug_lacks_no_file_that_runs():
    left_out = text_of(".slugignore").split()

    assert [line for line in left_out if not line.startswith("/")] == []
    runs = {
        "gateway", "rendezvous", "replies", "responder", "settings.py", "setting_conflicts.py",
        "setting_parsers.py",
        "wsgi.py", "gunicorn.conf.py", "routes.toml", "requirements.txt", "Procfile",
        ".python-version",
    }  # fmt: skip
    assert runs.isdisjoint(line.strip("/") for line in left_out)
    assert all((ROOT / name).exists() for name in runs)


def test_the_python_version_is_one_that_the_package_accepts():
    requires = tomllib.loads(text_of("pyproject.toml"))["project"]["requires-python"]

    assert requires == f">={text_of('.python-version').strip()}"
    assert sys.version_info >= (3, 11)


def test_ci_tests_each_python_that_the_package_names():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3" in line]
    jobs = yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"]

    matrix = jobs["pythons"]["strategy"]["matrix"]["python-version"]
    assert [text_of(".python-version").strip(), *matrix] == named


DOCKERFILE = re.sub(r"\\\n\s*", "", text_of("Dockerfile"))
#: What a container needs of the checkout, and a plain machine too.
MODULES = {file.name for file in ROOT.glob("*.py")}
RUNTIME = {"gateway", "rendezvous", "replies", "responder", "routes.toml", *MODULES}
LOCKS = {"requirements.txt", "requirements-jwt.txt"}
#: Variables that are not ours: of the shell, of Python, of glibc.
FOREIGN = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "MALLOC_ARENA_MAX"}


def instructions(name: str) -> list[str]:
    """Return the arguments of each instruction *name* of the Dockerfile."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def copied() -> set[str]:
    """Return the sources of the checkout that the image copies."""
    lines = [line.split() for line in instructions("COPY") if not line.startswith("--from")]
    return {source for *sources, _ in lines for source in sources}


def test_each_source_that_the_image_copies_exists_and_nothing_is_missing():
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert copied() == RUNTIME | LOCKS | {"LICENSE", "deploy/healthcheck.py"}


def test_the_package_has_each_module_of_the_top_folder():
    modules = tomllib.loads(text_of("pyproject.toml"))["tool"]["setuptools"]["py-modules"]

    assert {f"{name}.py" for name in modules} == MODULES - {"gunicorn.conf.py"}


def test_the_context_of_the_image_is_what_it_copies():
    lines = text_of(".dockerignore").splitlines()

    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied()


def test_the_image_installs_the_requirements_of_the_other_ways():
    (install,) = [line for line in instructions("RUN") if "pip install" in line]
    dynamic = tomllib.loads(text_of("pyproject.toml"))["tool"]["setuptools"]["dynamic"]

    assert set(re.findall(r"-r /build/(\S+)", install)) == LOCKS
    assert dynamic["dependencies"] == {"file": ["requirements.in"]}
    assert dynamic["optional-dependencies"]["jwt"] == {"file": ["requirements-jwt.in"]}


def test_the_image_runs_as_another_user_than_root_with_one_arena_and_a_health_check():
    assert instructions("USER") == ["65532:65532"]
    variables = dict(pair.split("=", 1) for pair in instructions("ENV")[0].split())
    assert variables["MALLOC_ARENA_MAX"] == "1"
    assert set(variables) <= SETTINGS | FOREIGN
    assert json.loads(instructions("HEALTHCHECK")[0].split("CMD ")[1])[1] in copied()
    assert len({line.split()[0] for line in instructions("FROM")}) == 1


def test_the_processes_of_the_image_are_those_of_the_procfile():
    procfile = dict(re.findall(r"^(\w+): (?:env \S+ )?(.*)$", text_of("Procfile"), re.MULTILINE))
    commands = {
        name: " ".join(service.get("command") or json.loads(instructions("CMD")[0]))
        for name, service in SERVICES.items()
        if service["image"] == "rendezvous"
    }

    assert commands == {name: procfile[name] for name in ("web", "replies", "responder")}


HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(HADOLINT is None, reason="hadolint has no wheel for this platform")
def test_hadolint_finds_nothing_in_the_dockerfile():
    checked = subprocess.run(
        [str(HADOLINT), "--no-color", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stdout) == (0, "")


SERVICES = yaml.safe_load(text_of("compose.yaml"))["services"]
OURS = [service for service in SERVICES.values() if service["image"] == "rendezvous"]


def test_compose_sets_only_settings_that_are_accepted():
    for service in OURS:
        env = {name: str(value) for name, value in service["environment"].items()}
        assert set(env) <= SETTINGS
        given = {name: value for name, value in env.items() if not value.startswith("${")}
        assert Settings.from_env(given, required=()).kafka_brokers() == ["kafka:19092"]


def test_compose_runs_the_image_without_writing_and_without_capabilities():
    for service in OURS:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_compose_waits_for_a_graceful_shutdown_as_long_as_the_gateway():
    routes = load_routes(ROOT / "routes.toml", "")
    longest_s = max(route.max_reply_timeout_s(Settings.reply_timeout_s) for route in routes)

    assert {service["stop_grace_period"] for service in OURS} == {f"{longest_s + 2:g}s"}


def test_compose_creates_the_topics_of_the_routes():
    topics = {route.topic for route in load_routes(ROOT / "routes.toml", "")}
    created = re.search(r"for topic in (.*?);", " ".join(SERVICES["topics"]["command"]))

    assert created is not None
    assert set(created[1].split()) == topics | {Settings.reply_topic}


def test_compose_lets_containers_and_this_machine_reach_the_same_broker():
    kafka = SERVICES["kafka"]["environment"]
    listeners = re.findall(r"(\w+)://", kafka["KAFKA_LISTENERS"])
    advertised = dict(re.findall(r"(\w+)://([^,]+)", kafka["KAFKA_ADVERTISED_LISTENERS"]))

    protocols = kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]
    assert re.findall(r"(\w+):PLAINTEXT", protocols) == listeners
    assert advertised == {"HOST": "127.0.0.1:9092", "CONTAINERS": "kafka:19092"}
    assert SERVICES["kafka"]["ports"] == ["127.0.0.1:9092:9092"]


# The health check of the container


class Alive(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gateway_port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), Alive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_a_container_is_healthy_while_its_gateway_is_alive(
    gateway_port, monkeypatch, tmp_path, status, code
):
    monkeypatch.setattr(Alive, "status", status)
    monkeypatch.setenv("PORT", str(gateway_port))
    command = tmp_path / "cmdline"
    command.write_bytes(b"/opt/venv/bin/python\0/opt/venv/bin/gunicorn\0wsgi:app\0")

    assert healthcheck.main(command) == code


def test_a_container_without_a_gateway_is_healthy(tmp_path):
    command = tmp_path / "cmdline"
    command.write_bytes(b"python\0-m\0replies\0")

    assert healthcheck.main(command) == 0


# Plain machines

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))


def unit(file: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(file, encoding="utf-8")
    return parser


def test_there_is_a_unit_for_each_process_with_its_command():
    procfile = dict(re.findall(r"^(\w+): (?:env \S+ )?(.*)$", text_of("Procfile"), re.MULTILINE))
    commands = {
        file.stem.removeprefix("rendezvous-"): unit(file)["Service"]["ExecStart"] for file in UNITS
    }

    assert commands == {
        name: f"/opt/rendezvous/.venv/bin/{procfile[name]}"
        for name in ("web", "replies", "responder")
    }


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
def test_a_unit_sets_no_variable_that_is_not_read(file):
    variables = unit(file)["Service"]["Environment"].split()

    assert {variable.split("=")[0] for variable in variables} <= SETTINGS | FOREIGN
    assert "MALLOC_ARENA_MAX=1" in variables


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
def test_systemd_accepts_a_unit(file, tmp_path):
    # The command does not exist here; systemd-analyze would complain of that alone.
    copy = tmp_path / file.name
    copy.write_text(re.sub(r"/opt/rendezvous/.venv/bin/\w+", "/bin/true", file.read_text()))
    checked = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_haproxy_accepts_the_example():
    checked = subprocess.run(
        ["haproxy", "-c", "-f", ROOT / "deploy/haproxy.cfg"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
