"""
Releases of packages and what tools report about them: fetched by pip, looked at by the tools of the environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Hashable
from io import BytesIO
from pathlib import Path

from backlog_store.intake import read_report
from backlog_store.intake.values import Finding, ReportContext
from bench.identity.code import File
from bench.identity.linehash import line_hashes
from bench.identity.truth import Found

__all__ = ["WAYS", "Release", "download", "scan"]

#: Ways to tell findings apart: by our key, by GitHub's hash, and by the line.
WAYS = ("key", "line hash", "line")
_RULES = "F,E,W,B,S,SIM,PL,C90,RUF,UP,N,RET,PERF,TRY,BLE,ARG"
_BIN = Path(sys.executable).parent
_TOOLS = {
    "ruff": f"ruff check --isolated --no-cache --exit-zero --select {_RULES} --output-format sarif .",
    "bandit": "bandit --quiet --exit-zero --recursive --format sarif .",
}


def download(package: str, version: str, folder: Path) -> Path:
    """
    Return the folder with the files of a release, fetched by pip from the index that it is set up for, as a wheel.
    """
    target = folder / f"{package}-{version}"
    if not target.exists():
        wheels = folder / "wheels" / target.name
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary", ":all:",
             "--disable-pip-version-check", "--dest", str(wheels), f"{package}=={version}"],
            check=True,
        )  # fmt: skip
        (wheel,) = wheels.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    return target


def scan(tool: str, folder: Path) -> bytes:
    """
    Return the SARIF report of *tool* about a folder.
    """
    program, *arguments = _TOOLS[tool].split()
    return subprocess.run([str(_BIN / program), *arguments], cwd=folder, check=True, capture_output=True).stdout


class Release:
    """
    One release and one report about it: its findings, their keys each way, and the files that they are in.
    """

    def __init__(self, package: str, folder: Path, report: bytes) -> None:
        context = ReportContext(service=package, root=str(folder))
        # What the report itself suppresses is no finding.
        taken = {
            one.pointer: one.draft.dedupe_key
            for one in read_report(BytesIO(report), context, format="sarif")[1]
            if isinstance(one, Finding)
        }
        self.findings: list[Found] = []
        self.files = {path.relative_to(folder).as_posix(): File(path) for path in sorted(folder.rglob("*.py"))}
        keys: list[Hashable] = []
        for run_at, run in enumerate(json.loads(report)["runs"]):
            for at, result in enumerate(run["results"]):
                pointer = f"/runs/{run_at}/results/{at}"
                if pointer in taken:
                    self.findings.append(_found(result, folder))
                    keys.append(taken[pointer])
        hashes = {path: line_hashes(file.text) for path, file in self.files.items()}
        self.keys: dict[str, list[Hashable]] = {
            "key": keys,
            "line hash": [(one.rule, one.path, hashes[one.path][one.line - 1]) for one in self.findings],
            "line": [(one.rule, one.path, one.line) for one in self.findings],
        }


def _found(result: dict[str, object], folder: Path) -> Found:
    place = result["locations"][0]["physicalLocation"]  # type: ignore[index]
    uri = str(place["artifactLocation"]["uri"]).removeprefix("file://").removeprefix(f"{folder}/").removeprefix("./")
    region = place.get("region", {})
    return Found(str(result["ruleId"]), uri, region.get("startLine", 1), region.get("startColumn", 1))
