"""Figures of the live page: written by each process, merged for all."""
