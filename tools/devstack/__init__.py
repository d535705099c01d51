"""Kafka, Redis and the processes of the Procfile on one machine, also for tests."""
