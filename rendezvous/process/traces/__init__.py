"""Spans of requests, with OpenTelemetry where they are asked for."""
