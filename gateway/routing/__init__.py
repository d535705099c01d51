"""routes.toml: read, validated, with JSON Schemas for bodies."""
