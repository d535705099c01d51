"""Who may call, and how much: API keys, in-flight limits, rate limits."""
