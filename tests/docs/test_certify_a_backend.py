"""
The guide for third parties does what it says: its code is taken from the page and run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "certify-a-backend.md"


def _blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def _run(path: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(path)]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_guide_certifies_its_backend(tmp_path: Path) -> None:
    """A third party's module, made of the page's code in its order, passes as a whole in a folder of its own."""
    module = tmp_path / "test_counting_backend.py"
    module.write_text("\n\n".join(_blocks()), encoding="utf-8")
    code, output = _run(module)
    assert code == 0, output
    assert re.search(r"\n2\d\d passed", output), output


def test_the_first_example_is_short() -> None:
    """Certifying a backend of one's own takes about twenty lines, its stand-in included."""
    assert len([line for line in _blocks()[0].splitlines() if line]) <= 20


def test_the_suite_fails_a_backend_that_is_wrong(tmp_path: Path) -> None:
    """The same module with one promise broken does not pass, and says which."""
    broken = _blocks()[0].replace("return super().write(fn, **hint)", "super().write(fn, **hint)")
    module = tmp_path / "test_counting_backend.py"
    module.write_text(broken, encoding="utf-8")
    code, output = _run(module)
    assert code == 1, output
    assert "test_read_and_write_return_what_the_function_returned" in output


def test_a_missing_fixture_is_explained(tmp_path: Path) -> None:
    """Who forgets the fixture is told what to give."""
    module = tmp_path / "test_forgotten.py"
    module.write_text("from backlog_store.testing.conformance import Forgetting\nclass TestMine(Forgetting): ...\n")
    code, output = _run(module)
    assert code == 1, output
    assert "give your test class a fixture `open_backend`" in output
