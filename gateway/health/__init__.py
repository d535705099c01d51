"""Health of a gateway: readiness, diagnostics and the state of the reply path."""
