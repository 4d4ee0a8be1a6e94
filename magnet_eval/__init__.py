"""Evaluation of text-to-audio models: how good, how fast, and what people hear.

The public names below are loaded when first used, so that ``import magnet_eval`` costs nothing and imports no torch.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

PUBLIC = {  # name -> module that holds it
    "load_model": "magnet_eval.config",
    "load_protocol": "magnet_eval.config",
    "list_models": "magnet_eval.config",
    "list_protocols": "magnet_eval.config",
    "Model": "magnet_eval.config",
    "Protocol": "magnet_eval.config",
    "Run": "magnet_eval.config",
    "System": "magnet_eval.config",
    "Prompt": "magnet_eval.records",
    "Clip": "magnet_eval.records",
    "Score": "magnet_eval.records",
    "UserError": "magnet_eval.lookup",
    "METRICS": "magnet_eval.metrics",
    "run": "magnet_eval.pipeline",
    "generate": "magnet_eval.pipeline",
    "score": "magnet_eval.pipeline",
}
__all__ = ["__version__", *PUBLIC]


def __getattr__(name: str) -> Any:
    """A public name, imported on first use."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'magnet_eval' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
