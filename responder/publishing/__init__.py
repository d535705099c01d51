"""Publishes replies and dead letters until a broker acknowledges them."""
