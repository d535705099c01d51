"""What gateway, replies and responder share."""

#: Version of all four packages; the build reads it from here.
__version__ = "0.1.0"
