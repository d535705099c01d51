"""Coverage-guided fuzzing of decoders of untrusted input; run by `make fuzz`."""
