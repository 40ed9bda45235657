"""Sub-commands of ``python -m tfinv.run``, one per file: each reads arguments, calls the library and writes files."""
