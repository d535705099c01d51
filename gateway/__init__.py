"""Service A: HTTP in, HTTP out. Publishes requests to Kafka and answers with their replies."""
