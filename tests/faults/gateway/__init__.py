"""Faults around gateways: killed workers, deploys, blocked logs, Redis outages."""
