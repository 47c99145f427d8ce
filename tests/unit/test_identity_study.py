"""
The study of identities (`bench.identity`): its truth, its rival, and what it says of two real releases.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from bench.identity.__main__ import compared
from bench.identity.code import File
from bench.identity.linehash import line_hashes
from bench.identity.matching import Counts, counted
from bench.identity.releases import Release
from bench.identity.truth import Found, same_findings

_ASSETS = Path(__file__).parent.parent / "assets" / "identity"

#: From the algorithm's own tests (github/codeql-action, ``src/fingerprints.test.ts``).
_HASHES = {
    "": ["c129715d7a2bc9a3:1"],
    " a\nb\n  \t\tc\n d": ["271789c17abda88f:1", "54703d4cd895b18:1", "180aee12dab6264:1", "a23a3dc5e078b07b:1"],
    " hello; \t\r\nworld!!!\r\n\n\r  \t\tGreetings\r End\r\n": [
        "e9496ae3ebfced30:1", "fb7c023a8b9ccb3f:1", "ce8ba1a563dcdaca:1", "e20e36e16fcb0cc8:1", "b3edc88f2938467e:1",
        "c8e28b0b4002a3a0:1", "c129715d7a2bc9a3:1",
    ],
    "Lorem ipsum dolor sit amet.\n" * 10: [
        *(f"a7f2ff13bc495cf2:{nth}" for nth in range(1, 7)), "a7f2ff1481e87703:1", "a9cf91f7bbf1862b:1",
        "55ec222b86bcae53:1", "cc97dc7b1d7d8f7b:1", "c129715d7a2bc9a3:1",
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", _HASHES)
def test_line_hashes_are_github_s(text: str) -> None:
    """
    The hash that ours is held against is the one that GitHub computes.
    """
    assert _HASHES[text] == line_hashes(text)


_BEFORE = """
    import os

    def load(name):
        data = open(name).read()
        assert data
        return data

    def save(name, text):
        assert text
        open(name, "w").write(text)
"""
_AFTER = """
    import os
    import sys

    def save(name, text):
        assert text
        open(name, "w").write(text)

    def load(name):
        data = open(name).read()
        assert data, name
        assert name
        return data
"""


def _files(tmp_path: Path, **texts: str) -> dict[str, File]:
    files = {}
    for name, text in texts.items():
        path = tmp_path / f"{name}.py"
        path.write_text(dedent(text))
        files[f"{name}.py"] = File(path)
    return files


def _asserts(files: dict[str, File]) -> list[Found]:
    return [
        Found("S101", path, number, 1)
        for path, file in files.items()
        for number, line in enumerate(file.lines, 1)
        if line.startswith("assert")
    ]


@pytest.mark.parametrize("name", ["a", "b"])
def test_truth_follows_moved_and_reworded_code(tmp_path: Path, name: str) -> None:
    """
    Findings of functions that changed places, in a file that was renamed, go on; what was added is new.
    """
    before, after = _files(tmp_path, a=_BEFORE), _files(tmp_path, **{name: _AFTER})
    old, new = _asserts(before), _asserts(after)
    same = {after[new[to].path].line(new[to].line): before["a.py"].line(old[at].line)
            for to, at in same_findings(old, new, before, after).items()}  # fmt: skip
    assert {"assert text": "assert text", "assert data, name": "assert data"} == same


def test_what_a_key_gets_wrong_is_counted() -> None:
    """
    Each kind of mistake is told: known called new, gone called known, one taken for the other.
    """
    truth = {0: 0, 1: 1}
    assert Counts(findings=3, false_new=1, false_fixed=1) == counted(["a", "b"], ["a", "c", "d"], truth)
    assert Counts(findings=3, false_new=0, missed_new=1, missed_fixed=1) == counted("abx", "abx", truth)
    assert Counts(findings=2, crossed=2) == counted("ab", "ba", truth)
    assert Counts(findings=2) == counted("aa", "aa", truth)


def test_keys_follow_findings_of_two_real_releases(tmp_path: Path) -> None:
    """
    Between two releases of a real package keys say less wrongly than GitHub's hash, and that less than line numbers.
    """
    releases = []
    for version in ("2.31.0", "2.32.3"):
        path = tmp_path / version / "requests" / "adapters.py"
        path.parent.mkdir(parents=True)
        path.write_bytes((_ASSETS / f"adapters-{version}.txt").read_bytes())
        releases.append(Release("requests", tmp_path / version, (_ASSETS / f"ruff-{version}.sarif").read_bytes()))
    same, counts = compared(releases)
    wrong = {way: count.false_new + count.false_fixed for way, count in counts.items()}
    assert same > len(releases[0].findings) // 2
    assert wrong["key"] < wrong["line hash"] < wrong["line"]
