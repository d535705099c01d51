"""What each command of python -m tools.bench measures."""
