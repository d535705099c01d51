"""Faults of Kafka: brokers, networks, topics, permissions, TLS."""
