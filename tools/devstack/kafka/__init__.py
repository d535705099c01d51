"""Kafka brokers: embedded, Apache Kafka, and a cluster of it; topics."""
