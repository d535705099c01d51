"""The Flask application: views, authentication, responses."""
