"""Clients of the gateway: API keys, in-flight limits and rate limits."""
