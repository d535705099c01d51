"""The figures of the live page: what this process leaves in Redis, and those of all processes."""
