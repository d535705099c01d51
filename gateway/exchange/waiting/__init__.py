"""Waiting for replies: who waits in this process, and the two ways to their replies."""
