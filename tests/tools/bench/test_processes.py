"""The processes of a subject: which commands run, where, and with which settings."""

from pathlib import Path

import pytest

from gateway.clients.api_keys import hash_of, new_key
from tools.bench.processes import Place, processes_of
from tools.bench.setup import SUBJECTS, Process, Setup, setup_of

PLACE = Place("broker:1", "t1-", 8123)


def processes(setup: Setup) -> dict[str, Process]:
    return {process.kind: process for process in processes_of(setup, PLACE)}


def test_shipped_runs_the_procfile_of_the_tree_with_default_settings(tmp_path: Path):
    tree = tmp_path
    (tree / "Procfile").write_text(
        "web: env A=1 B=2 gunicorn wsgi:app\nresponder: python -m responder\n"
    )

    found = processes(Setup("ours", tree=tree, python="/a b/python", shipped=True))

    assert {kind: (one.command, one.folder) for kind, one in found.items()} == {
        "web": ("env A=1 B=2 '/a b/python' -m gunicorn wsgi:app", tree),
        "responder": ("'/a b/python' -m responder", tree),
    }
    env = found["web"].env
    assert set(env) == {"KAFKA_PREFIX", "PORT", "SECRET_KEY", "API_KEYS"}
    assert not env["API_KEYS"]
    # One SECRET_KEY for all: it signs the correlation ids.
    assert found["responder"].env == env


def test_a_setup_with_an_api_key_lets_in_that_key_only():
    key = new_key()

    env = processes(Setup("ours", api_key=key, shipped=True))["web"].env

    assert hash_of(key) in env["API_KEYS"]
    assert key not in env["API_KEYS"]


def test_the_gateway_as_shipped_requires_a_new_key_and_has_no_other_setting_but_those_asked_for():
    setup = setup_of("shipped", {"REPLY_DELIVERY": "store"})

    env = processes(setup)["web"].env

    assert hash_of(setup.api_key) in env["API_KEYS"]
    assert set(env) - {"KAFKA_PREFIX", "PORT", "SECRET_KEY", "API_KEYS"} == {"REPLY_DELIVERY"}


@pytest.mark.parametrize(
    ("subject", "program"),
    [
        ("shipped-without-key", "python -m responder"),
        ("shipped", "python -m responder"),
        ("floor-shipped", "python -m responder"),
        ("floor-shipped-librdkafka", "python -m responder"),
        ("textbook", "programs.textbook_responder broker:1 t1-echo t1-group"),
        ("textbook-flush", "programs.textbook_responder broker:1 t1-echo t1-group --flush"),
        ("naive", "programs.echo_responder broker:1 t1-echo t1-group"),
        ("ours", "programs.echo_responder broker:1 t1-echo t1-group"),
        ("floor", "programs.echo_responder broker:1 t1-echo t1-group"),
    ],
)
def test_each_subject_has_its_responder(subject: str, program: str):
    assert processes(setup_of(subject, {}))["responder"].command.endswith(program)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_floor_runs_only_a_responder(subject: str):
    kinds = set(processes(setup_of(subject, {})))

    assert kinds == ({"responder"} if "floor" in subject else {"web", "replies", "responder"})


def test_our_processes_have_further_settings_and_those_of_the_textbook_have_not():
    env = {"REPLY_DELIVERY": "direct"}

    assert all(
        one.env.items() >= env.items() for one in processes(setup_of("shipped", env)).values()
    )
    assert processes(setup_of("ours", env))["web"].env.items() >= env.items()
    assert "REPLY_DELIVERY" not in processes(setup_of("textbook", env))["web"].env


def test_without_a_key_everybody_may_send():
    setup = setup_of("shipped-without-key", {})

    assert not setup.api_key
    assert not processes(setup)["web"].env["API_KEYS"]
