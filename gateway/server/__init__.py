"""The gunicorn worker class; the only code that uses gunicorn."""
