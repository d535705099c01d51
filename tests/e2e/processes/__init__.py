"""The processes: start, stop, crashes, resources."""
