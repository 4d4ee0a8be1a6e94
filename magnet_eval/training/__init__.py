"""How the embedded models of models/tiny/ were made; every step can be rerun with ``magnet-eval train``."""

from magnet_eval.training.recipe import STEPS, train

__all__ = ["STEPS", "train"]
