"""Consumers that survive broken records, stalls and restarting brokers."""
