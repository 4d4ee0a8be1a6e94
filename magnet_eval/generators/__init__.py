"""How clips are made: one module per family of systems."""
