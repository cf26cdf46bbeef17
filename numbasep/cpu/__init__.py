"""The CPU backend, which binds passes to memory and runs them on threads."""
