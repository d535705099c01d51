"""The chart rendered by Helm, and what its objects say."""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.brokers import in_ci

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm"
MANIFESTS = ROOT / "deploy/kubernetes/rendezvous.yaml"
PROCESSES = ("web", "replies", "responder")
#: The version of Kubernetes that `make manifests` renders for.
KUBERNETES = "1.34.0"
SECRET_KEY = "0c9f1d5b7e3a4826a1b0c9d8e7f60514"

Object = dict[str, Any]
Values = Mapping[str, Any]

#: Of a deployment that has everything that is off by default.
EVERYTHING: Values = {
    "settings": {
        "KAFKA_URL": "kafka+ssl://b-1.example:9096,kafka+ssl://b-2.example:9096",
        "KAFKA_PREFIX": "shop.",
    },
    "secret": {"values": {"SECRET_KEY": SECRET_KEY, "REDIS_URL": "redis://redis.example:6379/0"}},
    "schemas": {"order.json": '{"type": "object"}\n'},
    "env": {"FORWARDED_ALLOW_IPS": "*"},
    "volumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    "web": {"autoscaling": {"enabled": True}, "pod": {"nodeSelector": {"pool": "web"}}},
    "replies": {"keda": {"enabled": True}},
    "responder": {"keda": {"enabled": True}, "image": "shop:1"},
    "keda": {"authentication": "kafka"},
    "ingress": {"enabled": True, "className": "public", "tlsSecret": "tls"},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["a.example"]},
    "metrics": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "networkPolicy": {
        "metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
        "from": [{"namespaceSelector": {}}],
        "egress": [{"ports": [{"port": 9096}, {"port": 6379}]}],
    },
}
#: The least that the chart needs.
LEAST: Values = {
    "settings": {"KAFKA_URL": "kafka://kafka:9092", "REDIS_URL": "redis://redis:6379/0"},
    "secret": {"values": {"SECRET_KEY": SECRET_KEY}},
}


def helm() -> str:
    """Return the path of Helm; without it the test is skipped."""
    path = os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)])
    found = shutil.which("helm", path=path)
    if found is None:
        pytest.skip("Helm is not installed (https://helm.sh); deploy/kubernetes is tested without")
    return found


def run_helm(*arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [helm(), *arguments], input=given, capture_output=True, text=True, check=False
    )


@functools.cache
def _rendered(values: str) -> str:
    template = ("template", "shop", str(CHART), "--kube-version", KUBERNETES, "-f", "-")
    done = run_helm(*template, given=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(values: Values = LEAST) -> list[Object]:
    """Return the objects that the chart makes of *values*, as release "shop"."""
    return objects(_rendered(json.dumps(values)))


def refusal(values: Values) -> str:
    """Return why the chart refuses *values*."""
    done = run_helm(
        "template", "shop", str(CHART), "--kube-version", KUBERNETES, "-f", "-",
        given=json.dumps(values),
    )  # fmt: skip
    assert done.returncode != 0, done.stdout
    return done.stderr


def merged(values: Values, **changed: Values) -> Values:
    """Return *values* with the keys of each part of *changed* replaced."""
    return {**values, **{part: {**values.get(part, {}), **new} for part, new in changed.items()}}


def objects(text: str) -> list[Object]:
    return [found for found in yaml.safe_load_all(text) if found]


def of_kind(found: list[Object], kind: str) -> dict[str, Object]:
    """Return the objects of *kind* by name."""
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def deployment(found: list[Object], process: str) -> Object:
    (name,) = [name for name in of_kind(found, "Deployment") if name.endswith(f"-{process}")]
    return of_kind(found, "Deployment")[name]


def pod(found: list[Object], process: str) -> Object:
    """Return the pod template of *process*."""
    template: Object = deployment(found, process)["spec"]["template"]
    return template


def container(found: list[Object], process: str) -> Object:
    (only,) = pod(found, process)["spec"]["containers"]
    return dict(only)


def environment(found: list[Object], process: str) -> dict[str, str]:
    """Return the variables of *process*, as Kubernetes would set them."""
    env: dict[str, str] = {}
    for source in container(found, process)["envFrom"]:
        env |= of_kind(found, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    for variable in container(found, process)["env"]:
        key = variable["valueFrom"]["secretKeyRef"]
        secret = of_kind(found, "Secret").get(key["name"], {"stringData": {}})["stringData"]
        if key["key"] in secret:
            env[variable["name"]] = secret[key["key"]]
    return env


def validate(found: list[Object]) -> list[str]:
    """Return the kinds that Kubernetes has no schema of; fail where an object breaks its schema."""
    try:
        import kubernetes_validate
    except ImportError as error:
        if in_ci():
            raise
        pytest.skip(f"{error}: pip install -r requirements-dev.txt")
    unknown = []
    for each in found:
        try:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.append(each["kind"])
    return unknown
