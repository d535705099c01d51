"""HTTP in, HTTP out: an ordinary request becomes a Kafka message, its reply an ordinary answer."""

from gateway.app import create_app

__all__ = ["create_app"]
