"""Load generators, and the latencies they report."""
