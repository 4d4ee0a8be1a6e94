"""Plain text tables for the terminal."""

from collections.abc import Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under their headers; columns of numbers to the right."""
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [bool(rows) and all(cell[:1].isdigit() or cell[:1] in "-–" for cell in column[1:]) for column in columns]
    lines = [
        "  ".join(cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in cells).rstrip()
        for cells in (
            zip(row, widths, right, strict=True) for row in [headers, ["─" * width for width in widths], *rows]
        )
    ]
    return "\n".join(lines)
