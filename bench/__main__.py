"""
Every question in turn. `--write` puts tables and plots into docs, between the markers of docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench import batch, floored, opening, reads, single, transfer, writers
from bench.filled import filled, options, parser

__all__: list[str] = []

_DOCS = Path(__file__).parent.parent / "docs"
_PAGE = _DOCS / "performance.md"
_PLOT = _DOCS / "reads.svg"
_END = "<!-- end -->"
QUESTIONS = ("single", "writers", "batch", "reads", "floored", "opening", "transfer")
#: These ask stores that are filled once for all of them.
_OF_STORES = ("reads", "floored", "transfer")


def main() -> None:
    """
    Measure, print, and write if asked.
    """
    asked = parser(__doc__)
    asked.add_argument("--only", action="append", choices=QUESTIONS, help="one question; may be given several times")
    asked.add_argument("--operations", type=int, default=300, help="writes a round (default: %(default)s)")
    asked.add_argument("--count", type=int, default=10_000, help="drafts of a batch (default: %(default)s)")
    asked.add_argument("--journal", type=int, default=100_000, help="items of a journal (default: %(default)s)")
    asked.add_argument("--report-mb", type=int, default=200, help="size of the large report (default: %(default)s)")
    asked.add_argument("--write", action="store_true", help="write what was measured into docs")
    arguments = asked.parse_args()
    questions = arguments.only or QUESTIONS
    wanted = options(arguments)
    tables: dict[str, str] = {}
    if "single" in questions:
        tables["single"] = single.measure(wanted.rounds, arguments.operations)
    if "writers" in questions:
        tables["writers"] = writers.measure(wanted.rounds, arguments.operations)
    if "batch" in questions:
        tables["batch"] = batch.measure(arguments.count)
    if "opening" in questions:
        tables["opening"] = opening.measure(arguments.journal, wanted.events, wanted.rounds)
    drawn = ""
    if not set(_OF_STORES).isdisjoint(questions):
        with filled(wanted) as stores:
            if "reads" in questions:
                tables["reads"], drawn = reads.measure(stores, wanted.rounds)
            if "floored" in questions:
                tables["floored"] = floored.measure(stores, wanted.rounds)
            if "transfer" in questions:
                tables["transfer"] = transfer.measure(stores, arguments.report_mb)
    for name, table in tables.items():
        print(f"{name}\n\n{table}\n")
    if arguments.write:
        _PAGE.write_text(_filled_in(_PAGE.read_text(), tables.items()))
        if drawn:
            _PLOT.write_text(drawn)


def _filled_in(page: str, tables: Iterable[tuple[str, str]]) -> str:
    for name, table in tables:
        before, marker, rest = page.partition(f"<!-- {name} -->\n")
        if not marker:
            raise SystemExit(f"{_PAGE} has no place for {name}")
        page = f"{before}{marker}{table}\n{_END}{rest.partition(_END)[2]}"
    return page


if __name__ == "__main__":
    main()
