"""Every use of a private name of kafka-python, and nothing else."""
