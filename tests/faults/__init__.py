"""What really breaks, broken on purpose: brokers, networks, topics, rights."""
