"""The replies process: stores replies from Kafka in Redis."""
