"""Responders for gateways of other projects: those of their frameworks, and ours."""
