"""The steps of the Dockerfile, carried out in an empty folder: what they make runs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import READY_LIMIT_S, Deploy
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

ROOT = Path(__file__).parents[3]
STEP_LIMIT_S = 300
#: Top folders of the image that the Dockerfile makes.
FOLDERS = re.compile(r"(?<![\w/])/(?=(?:opt|app|build)\b)")
#: Runs its arguments with a root that cannot be written, in a namespace of its own.
READ_ONLY = ["unshare", "-rm", "sh", "-c", 'mount -o remount,ro,bind / && exec "$@"', "sh"]


def instructions() -> Iterator[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    yield from re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE)


def carry_out(name: str, arguments: str, image: Path) -> None:
    """Do what RUN and COPY do, in *image* instead of the root."""
    if name == "COPY" and not arguments.startswith("--from"):
        *sources, target = arguments.split()
        for source in sources:
            copy = image / target.lstrip("/") / (Path(source).name if target[-1] == "/" else "")
            copy.parent.mkdir(parents=True, exist_ok=True)
            is_folder = (ROOT / source).is_dir()
            (shutil.copytree if is_folder else shutil.copy)(ROOT / source, copy)
    elif name == "RUN":
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            # With the cache of this machine, which the image has not.
            ["sh", "-c", FOLDERS.sub(f"{image}/", arguments).replace("--no-cache-dir ", "")],
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=STEP_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    pip = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", "-d", str(folder)]
    pip.append("itsdangerous")
    probe = subprocess.run(pip, capture_output=True, text=True, timeout=60, check=False)
    if probe.returncode:
        pytest.skip(f"pip cannot reach a package index: {probe.stderr.strip()[-200:]}")
    for name, arguments in instructions():
        carry_out(name, arguments, folder)
    return folder


def command(image: Path, *argv: str) -> str:
    """Return the command that runs *argv* as a container does: in /app, with the image's PATH."""
    in_image = ["env", "-C", f"{image}/app", f"PATH={image}/opt/venv/bin:/usr/bin:/bin", *argv]
    probe = [*READ_ONLY, "touch", f"{image}/written"]
    can_be_read_only = shutil.which("unshare") is not None and (
        b"Read-only" in subprocess.run(probe, capture_output=True, check=False).stderr
    )
    return shlex.join([*READ_ONLY, *in_image] if can_be_read_only else in_image)


def test_what_the_steps_make_answers_requests(deploy: Deploy, image: Path):
    web = json.loads(dict(instructions())["CMD"])
    with deploy() as deployment:
        earlier = list(deployment.processes)
        deployment.start("replies", command(image, "python", "-m", "replies"))
        deployment.start("responder", command(image, "python", "-m", "responder"))
        deployment.web = command(image, *web)
        gateway = deployment.start_gateway()
        for process in earlier:
            process.child.stop(20)
        ready = wait_until(lambda: gateway.responds("/readyz"), READY_LIMIT_S)
        assert ready, deployment.logs()
        answered = wait_until(lambda: gateway.post("/echo", b"x").status == 200, READY_LIMIT_S)
        assert answered, deployment.logs()

    assert "Traceback" not in deployment.logs()
