"""Service A, the gateway: publishes HTTP requests to Kafka, responds with replies."""
