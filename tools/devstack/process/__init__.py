"""Child processes and servers that never outlive their parent."""
