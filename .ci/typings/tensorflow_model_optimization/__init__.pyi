"""tensorflow_model_optimization counts as untyped: its own stubs are partial and give false alarms."""

from typing import Any

def __getattr__(name: str) -> Any: ...
