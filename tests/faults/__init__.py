"""Faults injected into brokers, networks, topics, permissions and processes."""
