"""Apache Kafka accepts the configuration of compose.yaml and serves both of its listeners."""

from pathlib import Path

import pytest
import yaml

from settings import Settings
from tests.support.brokers import require_apache
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK, free_port

pytestmark = pytest.mark.e2e

COMPOSE = Path(__file__).parents[3] / "compose.yaml"


class ComposeKafka(ApacheKafka):
    """The broker of compose.yaml, on free ports of this machine."""

    def __init__(self) -> None:
        super().__init__()
        self.containers_port = free_port()

    def _configuration(self) -> str:
        service = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["kafka"]
        ports = {"9092": self.port, "19092": self.containers_port, "9093": free_port()}
        lines = [f"log.dirs={self.folder / 'data'}"]
        for variable, value in service["environment"].items():
            name = variable.removeprefix("KAFKA_").lower().replace("_", ".")
            text = str(value).replace("//kafka:", f"//{LOOPBACK}:").replace("0.0.0.0", LOOPBACK)
            for written, real in ports.items():
                text = text.replace(f":{written}", f":{real}")
            lines.append(f"{name}={text}")
        return "".join(f"{line}\n" for line in lines)


def test_containers_and_this_machine_share_the_broker_of_compose():
    require_apache()
    with ComposeKafka() as kafka:
        for port in (kafka.port, kafka.containers_port):
            settings = Settings.from_env({"KAFKA_URL": f"{LOOPBACK}:{port}"}, required=())
            created = create_topics(settings.kafka_connection(), ["orders"])

            # Both see the topic that the first one has created.
            assert created == (["orders"] if port == kafka.port else [])
