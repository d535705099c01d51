"""Connections, producers and consumers of Kafka."""
