"""The way back: the wire contract, the reply store, and the process that joins them.

The gateway and the responder both import this package; it imports neither of them.
"""
