"""The processes of the Procfile from outside: HTTP, and the servers as a user sees them."""
