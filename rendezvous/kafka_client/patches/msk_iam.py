"""
Turns errors of AWS credentials into errors of Kafka.

Bug: kafka-python 3.0 lets the errors of botocore through, as while STS or the metadata service of
the machine does not answer. A client whose connection ends with an error that is not Kafka's never
refreshes its metadata again, so it finds no new leader of a partition.
Reproduce: tests/unit/rendezvous/kafka_client/patches/test_msk_iam.py without name_aws_errors().
Effect: a client goes on once AWS answers again, and the preflight tells what AWS refuses.
Remove: when the library's refresh of metadata survives any error.
The seam is public: register_sasl_mechanism().
"""

from kafka import errors as kafka_errors
from kafka.net.sasl import register_sasl_mechanism
from kafka.net.sasl.msk import SaslMechanismAwsMskIam


class CredentialsError(kafka_errors.KafkaConnectionError):  # type: ignore[misc]  # no types
    """Raised with the reason, in one line, when AWS gives no credentials."""


class MskIam(SaslMechanismAwsMskIam):  # type: ignore[misc]  # kafka-python has no types
    """The mechanism AWS_MSK_IAM, whose errors are Kafka's."""

    def auth_bytes(self) -> bytes:
        """Return the signed request; raises CredentialsError."""
        try:
            signed: bytes = super().auth_bytes()
        except (AttributeError, kafka_errors.KafkaConfigurationError) as error:
            # botocore has found nothing.
            raise CredentialsError(
                "no AWS credentials or no region; set AWS_DEFAULT_REGION, and give this process "
                "a role or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except Exception as error:  # botocore's have no class in common
            reason = " ".join(str(error).split())
            raise CredentialsError(
                f"AWS gives no credentials ({reason}); check the role of this process, and that "
                "AWS can be reached"
            ) from error
        return signed


def name_aws_errors() -> None:
    """Use MskIam for the connections of all clients."""
    register_sasl_mechanism("AWS_MSK_IAM", MskIam, overwrite=True)
