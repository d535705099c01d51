"""What gateway, replies and responder share."""
