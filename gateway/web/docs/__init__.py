"""What the gateway publishes about itself: OpenAPI, Swagger UI, problem pages."""
