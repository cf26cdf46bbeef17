"""Files as arrays, which can be read and written in parts, with metadata of their axes."""
