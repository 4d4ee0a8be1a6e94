"""Packets for other tools, and answers from them: export, import, and the tables in between."""
