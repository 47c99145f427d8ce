"""
Measure what export, import and a report need in memory: each in a process of its own, at several sizes.

What counts is that the peak does not grow with the size; the memory of the bare program stands beside it. The peak is
that of resident memory, as the system counts it for a process that has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from backlog_store.codec import encode
from bench.backlogs import drafts
from bench.filled import Options, Stores, filled, options, parser
from bench.harness import table, temporary_folder

__all__ = ["measure"]

_PROGRAM = (sys.executable, "-c", "from backlog_store.cli import run; run()")
_DRAFTS = 20_000


def peak(arguments: Sequence[str], folder: Path, url: str) -> tuple[float, float]:
    """
    Run `backlog` with *arguments* on the store at *url*; return seconds and the peak of its memory in MB.

    Raises `SystemExit` if it fails.
    """
    environment = {
        **os.environ,
        "BACKLOG_URL": url,
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "NO_COLOR": "1",
    }
    before = os.times().elapsed
    process = subprocess.Popen(
        [*_PROGRAM, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    told = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed: {told.decode()}")
    return os.times().elapsed - before, used.ru_maxrss / 1024


def measure(stores: Stores, report_mb: int) -> str:
    """
    Return the table: seconds, megabytes moved, and the peak of memory.
    """
    lines = []
    with temporary_folder() as folder:
        _, bare = peak(["--version"], folder, "null://")
        lines.append(("the bare program", "", "", "", f"{bare:.0f} MB"))
        for name, found in stores.items():
            for store in found:
                file = folder / "export.ndjson"
                took, most = peak(["export", str(file), "--force"], folder, store.url)
                moved = f"{file.stat().st_size / 1e6:,.0f} MB"
                lines.append((f"export from {name}", f"{store.size:,} items", moved, f"{took:.0f} s", f"{most:.0f} MB"))
                if name == "SQLite":
                    target = folder / "imported.db"
                    took, most = peak(["import", str(file)], folder, f"sqlite:///{target}")
                    lines.append(
                        (f"import into {name}", f"{store.size:,} items", moved, f"{took:.0f} s", f"{most:.0f} MB")
                    )
                    target.unlink()
        for size in (report_mb // 10, report_mb):
            file = folder / "report.ndjson"
            count = _write_report(file, size)
            took, most = peak(["report", "--format", "ndjson", str(file)], folder, "null://")
            moved = f"{file.stat().st_size / 1e6:,.0f} MB"
            lines.append(("a report of drafts", f"{count:,} drafts", moved, f"{took:.0f} s", f"{most:.0f} MB"))
    return table(("what", "how much", "file", "time", "peak of memory"), lines)


def _write_report(file: Path, megabytes: int) -> int:
    count = 0
    with file.open("wb") as sink:
        while sink.tell() < megabytes * 1_000_000:
            for draft in drafts(_DRAFTS // 10, first=count, seed=count):
                sink.write(encode(draft) + b"\n")
                count += 1
    return count


def _main(wanted: Options, report_mb: int) -> None:
    with filled(wanted) as stores:
        print(measure(stores, report_mb))


if __name__ == "__main__":
    asked = parser(__doc__)
    asked.add_argument("--report-mb", type=int, default=200)
    arguments = asked.parse_args()
    _main(options(arguments), arguments.report_mb)
