"""What is stored in Redis, and the connections to it."""
