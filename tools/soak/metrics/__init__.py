"""The counters of all processes under load, compared with what the oracle counted."""
