"""The clients, their numbered requests, and the responder."""
