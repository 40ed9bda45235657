"""Jackknife and bootstrap: intervals from parts of the samples."""
