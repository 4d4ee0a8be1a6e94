"""Text for a terminal: what a stranger's file says is shown, never obeyed."""

import logging
import re

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # control characters, turned direction


def visible(text: str) -> str:
    """Text in which control characters but line breaks and tabs are spelt out as in JSON."""
    return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Formatter(logging.Formatter):
    """Log lines that a terminal obeys nothing in."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        return visible(super().format(record))
