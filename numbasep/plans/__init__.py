"""Plans as users see them: callable, explained, measured, verified."""
