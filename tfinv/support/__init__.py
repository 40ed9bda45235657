"""What every part of the project uses: files, keys, checks, lazy imports."""
