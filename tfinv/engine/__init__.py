"""Private: the passes over images that gather statistics."""
