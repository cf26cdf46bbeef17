"""Files as arrays that parts are read from and written to, with what they say of their axes."""
