"""Two files and many images: what changed."""
