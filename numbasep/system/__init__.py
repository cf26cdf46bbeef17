"""What a process needs from its surroundings: the cache directory, notices to the user, locks after a fork."""
