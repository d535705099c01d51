"""Long tests with broken servers and killed processes: make faults."""
