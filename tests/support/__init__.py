"""Helpers shared by integration, end-to-end and fault tests."""
