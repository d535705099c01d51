"""The plain manifests: valid, and what the chart renders."""

import subprocess

from settings import Settings
from tests.support.chart import (
    MANIFESTS,
    PROCESSES,
    ROOT,
    environment,
    helm,
    objects,
    of_kind,
    validate,
)

OBJECTS = objects(MANIFESTS.read_text(encoding="utf-8"))


def test_each_object_matches_the_schema_of_kubernetes():
    assert validate(OBJECTS) == []


def test_there_is_a_deployment_of_each_process():
    assert set(of_kind(OBJECTS, "Deployment")) == {f"rendezvous-{name}" for name in PROCESSES}


def test_their_settings_are_accepted():
    for process in PROCESSES:
        settings = Settings.from_env(environment(OBJECTS, process), ("KAFKA_URL", "REDIS_URL"))
        assert settings.kafka_brokers() == ["kafka:9092"]


def test_they_are_what_the_chart_renders(tmp_path):
    file = tmp_path / "rendered.yaml"
    make = ["make", "--silent", "manifests", f"HELM={helm()}", f"MANIFESTS={file}"]
    subprocess.run(make, cwd=ROOT, check=True)

    # The versions of Helm leave different empty lines.
    assert objects(file.read_text(encoding="utf-8")) == OBJECTS, "run `make manifests`"
