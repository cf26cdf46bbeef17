"""Arguments of filters: arrays, axes, boundaries and types, checked and turned into plain facts."""
