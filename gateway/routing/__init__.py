"""Routes: routes.toml, its validation, and JSON Schemas for bodies."""
