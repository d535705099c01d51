"""
The first requests on a connection to a broker: they tell why it is refused.

kafka-python reports a wrong password, a mechanism that the broker lacks and a port without SASL
alike, as "Unable to bootstrap".
"""

import socket
from collections.abc import Mapping
from typing import Any

from kafka import errors as kafka_errors
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.broker_version_data import BrokerVersionData
from kafka.protocol.metadata import ApiVersionsRequest, MetadataRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from rendezvous.kafka_client.oauth_tokens import TokenError
from rendezvous.kafka_client.patches.msk_iam import CredentialsError, name_aws_errors

#: The problem when a port is open and a client still cannot use it.
NOT_KAFKA = (
    "it listens but does not answer as a broker; is it a TLS port (then use kafka+ssl://), does it "
    "hang, or does it advertise an address that cannot be reached from here?"
)
#: Maximum time to wait for a broker without SASL, in seconds: a client finds the rest out itself.
ANONYMOUS_TIMEOUT_S = 1.0
_RECEIVE_BYTES = 65_536
OAUTH, MSK_IAM = "OAUTHBEARER", "AWS_MSK_IAM"
#: What to check if a broker ends the connection during SASL; else the user.
_CREDENTIALS = {OAUTH: "KAFKA_OAUTH_...", MSK_IAM: "the AWS credentials"}
_USER = "KAFKA_USERNAME and KAFKA_PASSWORD"
#: Maximum number of messages of one mechanism; SCRAM needs two.
_MAX_STEPS = 5


def handshake_problem(connection: socket.socket, arguments: Mapping[str, Any]) -> str | None:
    """
    Return why the broker behind *connection* does not serve us, with advice, or None.

    None also when it does not answer in time: a client may wait longer than the socket does.

    Args:
        arguments: those of kafka-python's clients.
    """
    is_anonymous = arguments.get("sasl_mechanism") is None
    timeout_s = connection.gettimeout()
    if is_anonymous and (timeout_s is None or timeout_s > ANONYMOUS_TIMEOUT_S):
        connection.settimeout(ANONYMOUS_TIMEOUT_S)
    conversation = _Conversation(connection)
    try:
        try:
            found = conversation.ask(ApiVersionsRequest(version=0))
        except (EOFError, ConnectionError, kafka_errors.KafkaError):
            return NOT_KAFKA
        if is_anonymous:
            return _anonymous_problem(conversation, found.api_keys)
        return _sasl_problem(conversation, arguments)
    except TimeoutError:
        return None


class _Conversation:
    """Sends one request after the other, each after the response to the one before."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._protocol = KafkaProtocol(client_id="rendezvous-preflight")

    def ask(self, request: Any) -> Any:
        """Return the response; raises EOFError, OSError or KafkaError."""
        self._protocol.send_request(request)
        self._connection.sendall(self._protocol.send_bytes())
        while data := self._connection.recv(_RECEIVE_BYTES):
            for _, response in self._protocol.receive_bytes(data):
                return response
        raise EOFError


def _anonymous_problem(conversation: _Conversation, api_keys: Any) -> str | None:
    versions = {one.api_key: (one.min_version, one.max_version) for one in api_keys}
    request = MetadataRequest(topics=[])
    try:
        request.API_VERSION = BrokerVersionData(api_versions=versions).api_version(request)
        conversation.ask(request)
    except (EOFError, ConnectionError):
        return (
            "it closes connections without SASL; set KAFKA_SASL_MECHANISM, or use a port without "
            "SASL"
        )
    except kafka_errors.KafkaError:
        return None  # the client will tell
    return None


def _sasl_problem(conversation: _Conversation, arguments: Mapping[str, Any]) -> str | None:
    name = arguments["sasl_mechanism"]
    try:
        offer = conversation.ask(SaslHandshakeRequest(mechanism=name, version=1))
        if offer.error_code == kafka_errors.UnsupportedSaslMechanismError.errno:
            enabled = ", ".join(sorted(offer.mechanisms)) or "none"
            return f"it does not enable SASL {name}, but {enabled}; correct KAFKA_SASL_MECHANISM"
        if offer.error_code:
            return (
                f"it refuses SASL ({kafka_errors.for_code(offer.error_code).__name__}); remove "
                "KAFKA_SASL_MECHANISM if this port is without SASL, or correct the port"
            )
        return _authentication_problem(conversation, arguments)
    except (EOFError, ConnectionError):
        checked = _CREDENTIALS.get(name, _USER)
        return f"it closes the connection during SASL {name}; check {checked}"


def _authentication_problem(
    conversation: _Conversation, arguments: Mapping[str, Any]
) -> str | None:
    name_aws_errors()
    name = arguments["sasl_mechanism"]
    mechanism = get_sasl_mechanism(name)(**arguments)
    for _ in range(_MAX_STEPS):
        try:
            proof = mechanism.auth_bytes()
        except (TokenError, CredentialsError) as error:
            return str(error.args[0])
        answer = conversation.ask(SaslAuthenticateRequest(proof, version=0))
        if answer.error_code:
            return _refusal(name, answer.error_message)
        try:
            mechanism.receive(answer.auth_bytes)
        except (ValueError, KeyError) as error:
            return f"it fails SASL {name} ({error}); is this the broker that you mean?"
        if mechanism.is_done():
            break
    return None


def _refusal(mechanism: str, message: str | None) -> str:
    reason = f" ({message})" if message else ""
    if mechanism == OAUTH:
        return (
            f"it refuses the token of KAFKA_OAUTH_TOKEN_URL{reason}; correct KAFKA_OAUTH_SCOPE, "
            "the client's rights there, or the issuer and audience that the broker expects"
        )
    if mechanism == MSK_IAM:
        return (
            f"it refuses the AWS credentials{reason}; allow kafka-cluster:Connect, and correct "
            "AWS_DEFAULT_REGION"
        )
    return f"it refuses {_USER}{reason}; correct them"
