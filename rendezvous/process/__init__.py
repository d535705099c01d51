"""How a process starts, logs and ends."""
