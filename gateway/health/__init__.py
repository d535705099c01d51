"""Health of a gateway: readiness, diagnostics, reply path."""
