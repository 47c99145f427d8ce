"""
Make the reports that `backlog demo` works on: real tools over real published packages.

Downloads two successive releases of each package from the Python package index, runs ruff and bandit over the unpacked
wheels, makes every path relative to the package's root, and writes the reports compactly, one file a tool and release,
with a README that names versions, licences and commands.

    python scripts/make_demo_reports.py [FOLDER]      needs `pip install ruff bandit bandit-sarif-formatter`

The tools' output is not edited otherwise. A report that still names this machine is refused.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent / "src" / "backlog_store" / "demo" / "reports"

#: (package, releases from old to new). Small, plain Python, permissive licences, and code that moved between releases.
PACKAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("bottle", ("0.12.25", "0.13.2")),
    ("gunicorn", ("20.1.0", "23.0.0")),
)
RUFF = ("ruff", "check", "--isolated", "--no-cache", "--exit-zero", "--select", "B,BLE,C4,F,PERF,PLE")
BANDIT = ("bandit", "--quiet", "--recursive", "--exit-zero", ".")
COMMANDS: dict[str, tuple[str, ...]] = {
    "ruff": (*RUFF, "--output-format", "sarif", "."),
    "bandit": (*BANDIT, "--format", "sarif"),
}


def main(folder: Path) -> None:
    """
    Write all reports and the README into *folder*.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for package, releases in PACKAGES:
        for release in releases:
            with tempfile.TemporaryDirectory() as scratch:
                root = Path(scratch).resolve() / "package"
                licence = unpack(package, release, root)
                for tool, command in COMMANDS.items():
                    report = relative(json.loads(run(command, root)), root)
                    name = f"{package}-{release}.{tool}.sarif"
                    (folder / name).write_text(compact(report, scratch), encoding="utf-8", newline="\n")
                    rows.append((name, package, release, licence, tool, len(report["runs"][0]["results"])))
    (folder / "README.md").write_text(readme(rows), encoding="utf-8", newline="\n")


def unpack(package: str, release: str, root: Path) -> str:
    """
    Download the wheel of *release* and unpack it into *root*; return its licence as the wheel states it.
    """
    wheels = root.parent / "wheels"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*pip, "--dest", str(wheels), f"{package}=={release}"], check=True)  # noqa: S603 - fixed arguments
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(root)
    (dist_info,) = root.glob("*.dist-info")
    stated = metadata.Distribution.at(dist_info).metadata
    for copies in root.glob("*.data"):  # scripts that the wheel holds twice, under a path that names the release
        shutil.rmtree(copies)
    names = ("License-Expression", "License")
    return next((stated[name] for name in names if name in stated), "see the package")


def run(command: tuple[str, ...], root: Path) -> str:
    """
    Run a tool inside *root* and return what it printed.
    """
    program = str(Path(sys.executable).parent / command[0])
    done = subprocess.run([program, *command[1:]], cwd=root, check=True, capture_output=True)  # noqa: S603 - fixed
    return done.stdout.decode("utf-8")


def relative(value: Any, root: Path) -> Any:
    """
    Return JSON data with each path below *root* made relative to it, without the time of the run.
    """
    if isinstance(value, dict):
        # The time of the run is left out: the demonstration is of the day it is shown on.
        return {relative(name, root): relative(value[name], root) for name in value if name != "endTimeUtc"}
    if isinstance(value, list):
        return [relative(member, root) for member in value]
    if isinstance(value, str):
        return value.removeprefix(f"{root.as_uri()}/").removeprefix(f"{root}/")
    return value


def compact(report: Any, scratch: str) -> str:
    """
    Return *report* as one line of JSON. Raises `SystemExit` if it names this machine.
    """
    text = json.dumps(report, ensure_ascii=False, separators=(",", ":")) + "\n"
    for private in (scratch, str(Path.home()), platform.node(), "file://"):
        if private and private in text:
            raise SystemExit(f"the report names this machine: {private!r}")
    return text


def readme(rows: list[tuple[str, str, str, str, str, int]]) -> str:
    """
    Return the page that says where each report comes from.
    """
    tools = "\n".join(f"- {tool} {metadata.version(tool)}: `{' '.join(command)}`" for tool, command in COMMANDS.items())
    table = "\n".join(f"| `{n}` | {p} {r} | {lic} | {t} | {count} |" for n, p, r, lic, t, count in rows)
    return f"""# Reports of the demonstration

Real findings: the tools below over wheels as published on the Python package index, run inside the unpacked wheel.
`scripts/make_demo_reports.py` downloads, runs and writes all of this again. The findings are these tools' opinion of
these releases, not a verdict on the packages; snippets of their code stay under their licences.

{tools}
- bandit's SARIF comes from bandit-sarif-formatter {metadata.version("bandit-sarif-formatter")}.

| report | of | licence | tool | findings |
|---|---|---|---|---|
{table}

Changed in the tools' output: paths are relative to the root of the package; the time of the run and white space between
tokens are left out.
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
