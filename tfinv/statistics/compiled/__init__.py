"""Private: compiled loops that read a block once."""
