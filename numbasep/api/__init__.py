"""The public functions: names, array types and defaults; nothing is computed here."""
