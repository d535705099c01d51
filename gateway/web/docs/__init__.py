"""What the gateway publishes about its API: OpenAPI, Swagger UI."""
