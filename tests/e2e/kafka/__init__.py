"""Records on real brokers: replies of every kind, size limits, replicas."""
