"""What a process shows of itself: metrics, their push and their port, and its health."""
