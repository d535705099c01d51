"""The HTTP side of the server: waitress with stricter parsing, limits and deadlines."""
