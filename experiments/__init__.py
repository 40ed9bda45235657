"""Research questions, one a file; each defines `EXPERIMENT` and runs with ``python -m tfinv.run NAME``."""
