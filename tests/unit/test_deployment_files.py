"""The files by which the product is deployed name only what exists."""

import json
import re
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

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


def test_app_json_starts_each_process_of_the_procfile():
    procfile = re.findall(r"^(\w+): ", text_of("Procfile"), re.MULTILINE)

    assert procfile == ["release", *APP["formation"]]


def test_the_slug_lacks_no_file_that_runs():
    left_out = text_of(".slugignore").split()

    assert [line for line in left_out if not line.startswith("/")] == []
    runs = {
        "gateway", "rendezvous", "replies", "responder", "settings.py", "setting_parsers.py",
        "wsgi.py", "gunicorn.conf.py", "routes.toml", "requirements.txt", "Procfile",
        ".python-version",
    }  # fmt: skip
    assert runs.isdisjoint(line.strip("/") for line in left_out)
    assert all((ROOT / name).exists() for name in runs)


def test_the_python_version_is_one_that_the_package_accepts():
    requires = tomllib.loads(text_of("pyproject.toml"))["project"]["requires-python"]

    assert requires == f">={text_of('.python-version').strip()}"
    assert sys.version_info >= (3, 11)
