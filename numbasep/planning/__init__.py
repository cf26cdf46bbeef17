"""Chooses a route: facts of a kernel, constants of a machine, costs, error bounds."""
