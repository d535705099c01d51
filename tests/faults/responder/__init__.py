"""Faults of responders: kills, redelivery, silence."""
