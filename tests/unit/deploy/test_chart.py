"""The chart: its objects are valid, and its values are checked."""

import json
import re
import tomllib
from collections import Counter
from dataclasses import fields

import pytest
import yaml

import rendezvous
from settings import Settings
from tests.support.chart import (
    CHART,
    EVERYTHING,
    LEAST,
    PROCESSES,
    ROOT,
    container,
    deployment,
    environment,
    merged,
    of_kind,
    pod,
    refusal,
    render,
    run_helm,
    validate,
)

VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))["properties"]
SETTABLE = set(SCHEMA["settings"]["propertyNames"]["enum"])
SECRET = set(SCHEMA["secret"]["properties"]["values"]["propertyNames"]["enum"])
#: Of the platform, not of ours.
LIMITS = {"requests", "limits"}


def test_each_setting_is_settable_and_no_other_variable():
    assert {field.name.upper() for field in fields(Settings)} == SETTABLE | SECRET


def test_secrets_go_into_the_secret_alone():
    secret = {field.name.upper() for field in fields(Settings) if field.metadata["secret"]}

    assert secret == SECRET - SETTABLE
    # They may hold a password, or be given with one.
    either = {"KAFKA_URL", "KAFKA_USERNAME", "KAFKA_OAUTH_CLIENT_ID", "REDIS_URL"}
    assert either == SECRET & SETTABLE


def test_the_chart_has_the_version_of_the_product():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))

    assert chart["version"] == chart["appVersion"] == rendezvous.__version__


def test_the_routes_are_those_of_the_repository():
    own = tomllib.loads((ROOT / "routes.toml").read_text(encoding="utf-8"))

    assert tomllib.loads(VALUES["routes"]) == own


def test_the_values_name_the_reply_timeout_that_is_the_default():
    assert VALUES["settings"]["REPLY_TIMEOUT_S"] == Settings.reply_timeout_s


# What follows needs Helm


def test_helm_accepts_the_chart():
    linted = run_helm("lint", "--strict", str(CHART), "-f", "-", given=json.dumps(LEAST))

    assert linted.returncode == 0, linted.stdout
    assert "0 chart(s) failed" in linted.stdout


@pytest.mark.parametrize("values", [LEAST, EVERYTHING], ids=["least", "everything"])
def test_each_object_matches_the_schema_of_kubernetes(values):
    unknown = validate(render(values))

    # Their schemas come with KEDA, the Gateway API and the Prometheus Operator.
    foreign = ["HTTPRoute", *["PodMonitor"] * 3, *["ScaledObject"] * 2]
    expected = foreign if values is EVERYTHING else []
    assert sorted(unknown) == expected


@pytest.mark.parametrize("values", [LEAST, EVERYTHING], ids=["least", "everything"])
@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_accepts_its_variables(values, process):
    required = ("KAFKA_URL",) if process == "responder" else ("KAFKA_URL", "SECRET_KEY")
    env = environment(render(values), process)
    settings = Settings.from_env(env, required=required)

    assert set(env) - {"FORWARDED_ALLOW_IPS"} <= SETTABLE | SECRET
    assert settings.drain_delay_s == 5
    assert settings.cpu_affinity is True


def test_numbers_and_words_reach_the_processes_as_they_are_read():
    given = {"IDEMPOTENCY_MAX_BYTES": 10**15, "REPLY_TIMEOUT_S": 0.5, "CPU_AFFINITY": False}
    settings = Settings.from_env(environment(render(merged(LEAST, settings=given)), "web"))

    assert settings.idempotency_max_bytes == 10**15
    assert settings.reply_timeout_s == 0.5
    assert settings.cpu_affinity is False


def test_each_secret_reaches_the_processes_that_read_it():
    found = render({"settings": LEAST["settings"], "secret": {"existing": "own"}})
    read = {
        process: {
            variable["name"]
            for variable in container(found, process)["env"]
            if variable["valueFrom"]["secretKeyRef"]["name"] == "own"
        }
        for process in PROCESSES
    }

    assert read["web"] == SECRET
    assert read["replies"] == SECRET - {"API_KEYS"}
    # The image of Service B may be another team's.
    assert read["responder"] == SECRET - {"API_KEYS", "SECRET_KEY", "SECRET_KEY_OLD"}
    assert not of_kind(found, "Secret")


def test_routes_and_their_schemas_are_files_beside_each_other():
    routes = '# ours\n[[route]]\npath = "/a"\ntopic = "a"\nschema = "order.json"\n'
    found = render({**EVERYTHING, "routes": routes})
    mount = next(m for m in container(found, "web")["volumeMounts"] if m["name"] == "routes")

    assert of_kind(found, "ConfigMap")["shop-routes"]["data"] == {
        "routes.toml": routes,
        "order.json": EVERYTHING["schemas"]["order.json"],
    }
    assert environment(found, "web")["ROUTES_FILE"] == f"{mount['mountPath']}/routes.toml"


@pytest.mark.parametrize(
    ("changed", "replaced"),
    [
        ({"routes": '[[route]]\npath = "/a"\ntopic = "a"\ntimeout_s = 10\n'}, {"web"}),
        ({"settings": {**LEAST["settings"], "LOG_FORMAT": "text"}}, set(PROCESSES)),
        ({"secret": {"values": {"SECRET_KEY": "another"}}}, set(PROCESSES)),
        ({"web": {"replicas": 3}}, set()),
    ],
)
def test_a_change_replaces_the_pods_that_it_concerns(changed, replaced):
    before, after = render(), render({**LEAST, **changed})

    assert {name for name in PROCESSES if pod(before, name) != pod(after, name)} == replaced


@pytest.mark.parametrize("process", PROCESSES)
def test_no_process_can_write_or_gain_privileges(process):
    found = render(EVERYTHING)
    spec, own = pod(found, process)["spec"], container(found, process)

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["automountServiceAccountToken"] is False
    assert own["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "/tmp" in [mount["mountPath"] for mount in own["volumeMounts"]]
    assert set(own["resources"]) == LIMITS


def test_the_commands_are_those_of_the_procfile():
    procfile = (ROOT / "Procfile").read_text(encoding="utf-8")
    commands = {name: " ".join(container(render(), name)["command"]) for name in PROCESSES}

    assert commands == dict(
        re.findall(r"^(web|replies|responder): (?:env \S+ )?(.*)$", procfile, re.MULTILINE)
    )


def test_each_selector_finds_the_pods_of_one_process():
    found = render(EVERYTHING)
    labels = {name: pod(found, name)["metadata"]["labels"] for name in PROCESSES}
    selectors = {
        f"{each['kind']} {each['metadata']['name']}": selector
        for each in found
        for key in ("selector", "podSelector")
        if (selector := each.get("spec", {}).get(key))
    }

    for name, selector in selectors.items():
        wanted = selector.get("matchLabels", selector)
        chosen = [process for process in PROCESSES if wanted.items() <= labels[process].items()]
        assert len(chosen) == 1, name
        assert name.endswith(f"-{chosen[0]}") or name == "Service shop"
    kinds = [name.split()[0] for name in selectors]
    of_each_process = ("Deployment", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor")
    assert Counter(kinds) == dict.fromkeys(of_each_process, 3) | {"Service": 1}


def test_each_reference_to_an_object_names_one_that_exists():
    found = render(EVERYTHING)
    (ingress,) = of_kind(found, "Ingress").values()
    (route,) = of_kind(found, "HTTPRoute").values()
    (scaler,) = of_kind(found, "HorizontalPodAutoscaler").values()
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    scaled = [each["spec"]["scaleTargetRef"] for each in of_kind(found, "ScaledObject").values()]

    assert backend["name"] == route["spec"]["rules"][0]["backendRefs"][0]["name"] == "shop"
    assert list(of_kind(found, "Service")) == ["shop"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "shop-web"
    assert [target["name"] for target in scaled] == ["shop-replies", "shop-responder"]
    # Else each upgrade would undo what the scaler did.
    assert not [name for name in PROCESSES if "replicas" in deployment(found, name)["spec"]]


def test_keda_measures_the_groups_and_topics_of_the_processes():
    settings = {**EVERYTHING["settings"], "RESPONDER_GROUP": "b"}
    scaled = of_kind(render({**EVERYTHING, "settings": settings}), "ScaledObject")
    measured = {
        name: [
            (trigger["metadata"]["consumerGroup"], trigger["metadata"]["topic"])
            for trigger in each["spec"]["triggers"]
        ]
        for name, each in scaled.items()
    }
    first = scaled["shop-replies"]["spec"]["triggers"][0]

    assert measured == {
        "shop-replies": [("shop.replies", "shop.replies")],
        "shop-responder": [("shop.b", "shop.echo"), ("shop.b", "shop.orders")],
    }
    assert first["metadata"]["bootstrapServers"] == "b-1.example:9096,b-2.example:9096"
    assert first["metadata"]["tls"] == "enable"
    assert first["authenticationRef"] == {"name": "kafka"}


def ports(policy):
    """Return the ports that a policy lets in, with whether everybody may reach them."""
    rules = policy["spec"].get("ingress", [])
    return {rule["ports"][0]["port"]: "from" not in rule for rule in rules}


def test_only_web_and_metrics_can_be_reached_and_egress_is_restricted_on_demand():
    restricted, free = (of_kind(render(v), "NetworkPolicy") for v in (EVERYTHING, LEAST))
    silent = of_kind(render(merged(LEAST, settings={"METRICS_PORT": None})), "NetworkPolicy")

    assert ports(restricted["shop-web"]) == {"http": False, "metrics": False}
    assert ports(restricted["shop-replies"]) == {"metrics": False}
    assert ports(free["shop-responder"]) == {"metrics": True}
    assert [name for name, each in silent.items() if ports(each)] == ["shop-web"]
    for each in restricted.values():
        assert each["spec"]["egress"][0]["ports"][0]["port"] == 53
    assert [each["spec"]["policyTypes"] for each in free.values()] == [["Ingress"]] * 3


@pytest.mark.parametrize("process", ["replies", "responder"])
def test_processes_without_http_are_probed_on_the_port_of_metrics(process):
    own = container(render(LEAST), process)
    silent = container(render(merged(LEAST, settings={"METRICS_PORT": None})), process)

    assert own["ports"] == [
        {"name": "metrics", "containerPort": VALUES["settings"]["METRICS_PORT"]}
    ]
    for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        assert own[probe]["httpGet"] == {"path": path, "port": "metrics"}
        assert probe not in silent


def test_replies_and_responder_may_be_left_out():
    found = render({**LEAST, "responder": {"enabled": False}, "replies": {"enabled": False}})

    assert list(of_kind(found, "Deployment")) == ["shop-web"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"settings": {"REPLY_TIMEOUT": 3}}, "invalid propertyName 'REPLY_TIMEOUT'"),
        ({"settings": {"SECRET_KEY": "x"}}, "invalid propertyName 'SECRET_KEY'"),
        ({"secret": {"values": {"PORT": "1"}}}, "invalid propertyName 'PORT'"),
        ({"secret": {"values": {}}}, "KAFKA_URL is not set"),
        ({"secret": {"existing": "a", "values": {"SECRET_KEY": "b"}}}, "set one"),
        ({"web": {"pod": {"containers": []}}}, "/web/pod"),
        ({"web": {"replicas": 0}}, "/web/replicas"),
        ({"routes": "[[route"}, "routes: toml:"),
        ({"routes": "# none\n"}, "routes has no [[route]]"),
        (
            {"settings": {"REPLIES_MODE": "broadcast"}, "replies": {"keda": {"enabled": True}}},
            "replies.keda needs REPLIES_MODE group",
        ),
        ({"replies": {"keda": {"enabled": True}}}, "keda.brokers is not set"),
        (
            {"settings": {"METRICS_PORT": None}, "metrics": {"podMonitor": {"enabled": True}}},
            "metrics.podMonitor needs settings.METRICS_PORT",
        ),
    ],
)
def test_wrong_values_are_refused_with_a_reason(changed, reason):
    assert reason in refusal({"secret": {"existing": "own"}, **changed})
