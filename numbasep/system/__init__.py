"""Process-wide services: the cache directory, notices to the user, locks after a fork."""
