"""Load with faults by a seeded schedule, and a check of every response."""
