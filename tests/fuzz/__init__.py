"""Coverage-guided fuzzing of the readers that strangers reach: for `make fuzz`, not for pytest."""
