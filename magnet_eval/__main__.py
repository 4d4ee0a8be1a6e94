"""``python -m magnet_eval`` is ``magnet-eval``."""

from magnet_eval.cli import entry

if __name__ == "__main__":
    entry()
