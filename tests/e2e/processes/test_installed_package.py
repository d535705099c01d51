"""The package, installed from a wheel: a Service B in a folder of its own answers requests."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rendezvous import __version__
from tests.support.deployment import PROCFILE, READY_LIMIT_S, Deploy
from tools.devstack.process.procfile import start_process
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

ROOT = Path(__file__).parents[3]
PACKAGES = ("gateway", "rendezvous", "replies", "responder")
FILES = ("pyproject.toml", "requirements.in", "README.md", "LICENSE")
SHARED = ("gunicorn.conf.py", "routes.toml")
MODULES = tuple(sorted({file.name for file in ROOT.glob("*.py")} - {"gunicorn.conf.py"}))
PIP_LIMIT_S = 300
SERVICE_B = """\
from rendezvous.contract import Reply
from responder.registry import handles


@handles("greetings")
def greet(request):
    return Reply.json(request, {"hello": request.body.decode()})
"""
ROUTES = '[[route]]\npath = "/greetings"\ntopic = "greetings"\n'


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run *command* in *cwd*, where it finds no module of the checkout."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd, env=env, capture_output=True, text=True, timeout=PIP_LIMIT_S, check=False,
    )  # fmt: skip


def succeeds(*command: str | Path, cwd: Path) -> str:
    ended = run(*command, cwd=cwd)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout, built in a copy, as a build leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    probe = run(*pip, "download", "--no-deps", "itsdangerous", cwd=folder)
    if probe.returncode:
        pytest.skip(f"pip cannot reach a package index: {probe.stderr.strip()[-200:]}")
    source = folder / "source"
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in (*FILES, *MODULES, *SHARED):
        shutil.copy(ROOT / name, source)
    succeeds(*pip, "wheel", "--no-deps", "-w", folder, source, cwd=folder)
    (built,) = folder.glob("rendezvous_gateway-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty virtual environment into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    succeeds(sys.executable, "-m", "venv", "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    succeeds(python, "-m", "pip", "--disable-pip-version-check", "-q", "install", wheel, cwd=folder)
    return python


def test_the_service_is_that_of_the_guide():
    assert SERVICE_B in (ROOT / "docs/guides/responder.md").read_text(encoding="utf-8")


def test_the_wheel_has_every_file_of_the_packages_and_no_other(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    shared = {
        f"rendezvous_gateway-{__version__}.data/data/share/rendezvous/{name}" for name in SHARED
    }

    assert packed == tracked | set(MODULES) | shared


def test_the_installed_gateway_serves_its_pages(python: Path, tmp_path: Path):
    script = """
import os
os.environ.update(KAFKA_URL="kafka://127.0.0.1:1", REDIS_URL="redis://127.0.0.1:1/0",
                  SECRET_KEY="b1946ac92492d2347c6235b4d2611184")
from wsgi import app
client = app.test_client()
for path in ("/docs", "/openapi.json", "/problems"):
    assert client.get(path, headers={"Accept": "text/html, */*"}).status_code == 200, path
import gateway
print(gateway.__file__, flush=True)
"""
    (tmp_path / "routes.toml").write_text(ROUTES)

    assert "site-packages" in succeeds(python, "-c", script, cwd=tmp_path)


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """A folder with nothing but a Service B."""
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "greetings.py").write_text(SERVICE_B)
    return folder


def test_a_service_is_tested_without_kafka(python: Path, service: Path):
    script = (
        "import greetings; from responder.testing import call; print(call('greetings', b'Ada'))"
    )

    assert "Ada" in succeeds(python, "-c", script, cwd=service)


@pytest.mark.parametrize("gateway_of", ["checkout", "package"])
def test_a_service_in_another_folder_answers_requests(
    deploy: Deploy, python: Path, service: Path, tmp_path: Path, gateway_of: str
):
    routes = tmp_path / "routes.toml"
    routes.write_text(ROUTES)
    web = PROCFILE["web"]
    if gateway_of == "package":
        conf = python.parents[1] / "share/rendezvous/gunicorn.conf.py"
        web = f"env -C {service} {python.parent}/gunicorn -c {conf} wsgi:app"

    env = {"ROUTES_FILE": str(routes)}
    with deploy(responders=0, topics=("greetings",), web=web, env=env) as deployment:
        log = tmp_path / "service.log"
        command = f"{python} -m responder --handlers greetings"
        child = start_process(command, deployment.environment, log, cwd=service)
        try:
            gateway = deployment.gateway
            is_answered = wait_until(
                lambda: gateway.post("/greetings", b"x").status == 200, READY_LIMIT_S
            )
            assert is_answered, log.read_text(encoding="utf-8") + deployment.logs()
            response = gateway.post("/greetings", b"Ada")
        finally:
            child.stop(10)

    assert (response.status, json.loads(response.body)) == (200, {"hello": "Ada"})
    logged = log.read_text(encoding="utf-8")
    assert f"version {__version__}, Python" in logged
    assert "answering topics " in logged
