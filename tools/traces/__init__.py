"""Receives and prints the traces of this project's processes."""
