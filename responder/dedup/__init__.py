"""Deduplication: a redelivered request gets the reply of the first delivery."""
