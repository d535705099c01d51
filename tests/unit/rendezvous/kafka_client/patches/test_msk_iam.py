"""Errors of AWS credentials are errors of Kafka."""

import pytest
from kafka import errors as kafka_errors
from kafka.net.sasl import SASL_MECHANISMS, get_sasl_mechanism
from kafka.net.sasl.msk import SaslMechanismAwsMskIam

from rendezvous.kafka_client.patches.msk_iam import MskIam
from rendezvous.kafka_client.patches.prompt_client import prompt_client
from tests.unit.rendezvous.kafka_client.conftest import FAILING_PROFILE


@pytest.mark.parametrize("profile", ["", FAILING_PROFILE], ids=["nothing", "a failing program"])
def test_whatever_botocore_raises_is_a_connection_error_of_kafka(aws_config, profile):
    aws_config.write_text(profile)
    mechanism = MskIam(security_protocol="SASL_SSL", host="b-1.example")

    with pytest.raises(kafka_errors.KafkaConnectionError, match=r"AWS .*credentials"):
        mechanism.auth_bytes()


def test_every_client_uses_it(monkeypatch):
    monkeypatch.setitem(SASL_MECHANISMS, "AWS_MSK_IAM", SaslMechanismAwsMskIam)
    prompt_client(bootstrap_servers="127.0.0.1:1").close()

    assert get_sasl_mechanism("AWS_MSK_IAM") is MskIam
