"""The choice of a route: facts about a kernel, what a machine can do, costs, error bounds.  No compiler, no arrays."""
