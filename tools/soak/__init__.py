"""Load, faults by a seeded schedule, and an oracle that knows what each client should have got."""
