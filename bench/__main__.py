"""
Every question in turn. `--write` puts the tables into docs/performance.md, between its markers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import batch, reads, single, writers

__all__: list[str] = []

_PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
_END = "<!-- end -->"


def main() -> None:
    """
    Measure, print, and write if asked.
    """
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--operations", type=int, default=300)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--sizes", type=reads.sizes, default=reads.SIZES)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    tables = {
        "single": single.measure(arguments.rounds, arguments.operations),
        "writers": writers.measure(arguments.rounds, arguments.operations),
        "batch": batch.measure(arguments.count),
        "reads": reads.measure(arguments.sizes, arguments.rounds),
    }
    page = _PAGE.read_text()
    for name, table in tables.items():
        print(f"{name}\n\n{table}\n")
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        page = f"{before}<!-- {name} -->\n{table}\n{_END}{rest.partition(_END)[2]}"
    if arguments.write:
        _PAGE.write_text(page)


if __name__ == "__main__":
    main()
