"""Whether each response was right, and each recovery in time."""
