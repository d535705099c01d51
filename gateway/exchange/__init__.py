"""One request to its reply: publish, wait, answer. No Flask, no gunicorn."""
