"""Throughput, latency and cost, compared with a lower bound and a naive gateway."""
