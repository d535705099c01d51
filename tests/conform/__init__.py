"""Conformance of a deployment with its OpenAPI description: ``make conform``."""
