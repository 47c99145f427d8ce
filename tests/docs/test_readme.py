"""
The README shows what really happens: its recording, its Python, its commands and its links.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from backlog_store.cli.main import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _recording() -> list[str]:
    text = README.split("<!-- recording -->", 1)[1].split("<!-- end -->", 1)[0]
    return [line for line in text.splitlines() if line.strip("`… ") and not line.startswith("```")]


def test_recording_is_what_the_demonstration_prints(tmp_path: Path) -> None:
    """Each line of the recording comes out of `backlog demo`, in this order; a cut line is cut with an ellipsis."""
    command = str(Path(sys.executable).with_name("backlog"))
    done = subprocess.run([command, "demo"], cwd=tmp_path, capture_output=True, text=True, check=True)
    printed = iter(done.stdout.splitlines())

    for line in _recording():
        assert any(real.startswith(line.rstrip("…")) for real in printed), line


def test_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ten lines for embedding do what their comment says."""
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)

    assert code is not None
    exec(code[1], {})
    exec(code[1], {})

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["created", "unchanged"]


def test_commands_of_the_readme_exist_with_their_options() -> None:
    """Every `backlog …` line of the README can be parsed by the command line."""
    lines = re.findall(r"(?:\$ |\| |`)backlog ([a-z][^|`#\n]*)", README)
    assert len(lines) >= 8
    context = click.Context(cli)
    for line in lines:
        name, *words = shlex.split(line)
        command = cli.get_command(context, name)
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            if word.startswith("-") and not word.endswith("…") and len(word) > 1:
                assert word in known, (line, word)


def test_links_of_the_readme_lead_somewhere() -> None:
    """Every relative link names a file of the project."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]

    assert [link for link in links if not (ROOT / link.split("#")[0]).exists()] == []
