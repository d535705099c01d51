"""Kafka and Redis for a laptop, and the processes of the Procfile; the fixture of the tests."""
