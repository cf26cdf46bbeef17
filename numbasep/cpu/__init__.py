"""The CPU backend: binds passes to memory, and runs them on threads."""
