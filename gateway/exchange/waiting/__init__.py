"""Waiting for replies: the waiters of this process, and the two ways to their replies."""
