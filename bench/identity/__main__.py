"""
Take in what tools report about ten successive releases of three packages, and count how well keys follow the findings.

Every release is held against the one before it. What is the same finding is told from the code alone
(`bench.identity.truth`); counted is where a way of telling findings apart says otherwise (`bench.identity.matching`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from bench.harness import table, temporary_folder
from bench.identity.matching import Counts, counted
from bench.identity.releases import WAYS, Release, download, scan
from bench.identity.truth import same_findings

__all__ = ["measure"]

#: Chosen for what happens in them: files move, a formatter and new idioms pass over all of it, types come in.
RELEASES = {
    "flask": ("2.2.4", "2.2.5", "2.3.0", "2.3.1", "2.3.2", "2.3.3", "3.0.0", "3.0.1", "3.0.2", "3.0.3"),
    "paramiko": ("2.12.0", "3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.3.1", "3.3.2", "3.4.0", "3.4.1", "3.5.0"),
    "urllib3": ("1.26.20", "2.0.2", "2.0.3", "2.0.4", "2.0.5", "2.0.6", "2.0.7", "2.1.0", "2.2.2", "2.2.3"),
}
TOOLS = ("ruff", "bandit")
_HEAD = ("package", "tool", "told by", "findings", "the same", "false new", "false fixed", "missed new", "missed fixed",
         "crossed")  # fmt: skip


def compared(releases: Sequence[Release]) -> tuple[int, dict[str, Counts]]:
    """
    Return how many findings go on in the next release, and what each way of telling them apart says.
    """
    same = 0
    counts = dict.fromkeys(WAYS, Counts())
    for old, new in pairwise(releases):
        truth = same_findings(old.findings, new.findings, old.files, new.files)
        same += len(truth)
        for way in WAYS:
            counts[way] += counted(old.keys[way], new.keys[way], truth)
    return same, counts


def measure(folder: Path, packages: Sequence[str], tools: Sequence[str]) -> str:
    """
    Return the table. Releases are fetched into *folder*, and taken from there if it has them.
    """
    rows: list[tuple[str, ...]] = []
    total = dict.fromkeys(WAYS, Counts())
    total_same = 0
    for package in packages:
        folders = [download(package, version, folder) for version in RELEASES[package]]
        for tool in tools:
            same, counts = compared([Release(package, one, scan(tool, one)) for one in folders])
            total_same += same
            for way, count in counts.items():
                rows.append((package, tool, *_cells(way, same, count)))
                total[way] += count
    rows += (("all", "", *_cells(way, total_same, total[way])) for way in WAYS)
    return table(_HEAD, rows)


def _cells(way: str, same: int, count: Counts) -> Iterator[str]:
    yield from (way, f"{count.findings:,}", f"{same:,}")
    for name in Counts.__struct_fields__[1:]:
        yield f"{getattr(count, name):,}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", action="append", choices=RELEASES, help="one package; may be given several times")
    parser.add_argument("--tool", action="append", choices=TOOLS, help="one tool; may be given several times")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where releases are kept for the next time")
    arguments = parser.parse_args()
    with temporary_folder() as temporary:
        print(measure((arguments.keep or temporary).resolve(), arguments.package or list(RELEASES),
                      arguments.tool or TOOLS))  # fmt: skip
