"""Readiness and diagnostics: what keeps a request from succeeding."""
