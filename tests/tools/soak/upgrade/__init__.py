"""Tests of the upgrade under load."""
