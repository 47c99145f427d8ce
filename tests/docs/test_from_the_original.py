"""The guide for callers of the original module: its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "from-the-original.md"


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, as a reader tries them; the trail that they print shows the move."""
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert 2 == len(examples)
    namespace: dict[str, object] = {}
    for example in examples:
        exec(compile(example, GUIDE.name, "exec"), namespace)
    printed = capsys.readouterr().out
    assert "caller created" in printed
    assert "('open', 'in_progress')" in printed
