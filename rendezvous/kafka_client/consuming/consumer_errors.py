"""Advice about the errors of a consumer."""

from kafka import errors as kafka_errors


def advice(error: kafka_errors.KafkaError) -> str:
    """Return advice about *error*, if there is any."""
    what = error.args[0] if error.args else None
    if isinstance(error, kafka_errors.TopicAuthorizationFailedError):
        topics = [what] if isinstance(what, str) else sorted(what or ())
        return f"; grant Read on topic {', '.join(map(repr, topics))}"
    if isinstance(error, kafka_errors.GroupAuthorizationFailedError):
        return f"; grant Read on {'its group' if what is None else f'group {what!r}'}"
    if isinstance(error, kafka_errors.SaslAuthenticationFailedError):
        return "; correct KAFKA_USERNAME and KAFKA_PASSWORD, or with OAUTHBEARER KAFKA_OAUTH_..."
    return ""
