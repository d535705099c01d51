"""Redis: expiry of keys, outages, errors, TLS."""
