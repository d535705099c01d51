"""Circuit breakers: reject requests to topics whose responders do not reply."""
