"""Connections to one Redis, a Redis Cluster, or a Redis with Sentinels."""
