"""Holds a running deployment against its own description: ``make conform``."""
