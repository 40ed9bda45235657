"""Sub-commands of ``python -m tfinv.run``, one a file: arguments in, a library call, files out (run)."""
