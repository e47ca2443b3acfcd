"""Tables: the same rows for a terminal and for Markdown."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvid.files import write_atomically


@dataclass(frozen=True)
class Table:
    """Rows of text under a header.

    Attributes:
        title: what is measured, on what and how.
        header: names of the columns; the first column is aligned to the left.
        rows: as long as the header each.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """For a terminal: aligned columns under the title."""
        return f"{self.title}\n\n{format_table(self.header, self.rows)}"

    def markdown(self) -> str:
        """The same in Markdown."""
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"{self.title}\n\n{body}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first one to the left, the rest to the right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        first, *rest = (cell.ljust(w) if i == 0 else cell.rjust(w)
                        for i, (cell, w) in enumerate(zip(row, widths, strict=True)))  # fmt: skip
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def number(value: Any, digits: int = 3) -> str:
    """A figure for a table; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def show(text: str) -> None:
    """Part of the result of a command, to stdout."""
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


def write_markdown(path: Path, intro: str, tables: Sequence[Table]) -> None:
    """All tables of a command in one file, complete or not at all."""
    write_atomically(path, ("\n\n".join([intro, *[t.markdown() for t in tables]]) + "\n").encode())
