"""pandas counts as untyped: its own annotations of indexing are too wide and give false alarms."""

from typing import Any

def __getattr__(name: str) -> Any: ...
