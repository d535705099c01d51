"""Faults of replies processes: kills, hangs, rebalances."""
