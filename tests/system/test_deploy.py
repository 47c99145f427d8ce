"""
The files of deploy/ as the programs read them that they are for.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"


def _unit(folder: Path) -> Path:
    # Installed where this environment is: systemd looks whether the program is there.
    text = (DEPLOY / "backlog.service").read_text(encoding="utf-8")
    assert "/opt/backlog/bin/backlog" in text
    unit = folder / "backlog.service"
    unit.write_text(text.replace("/opt/backlog/bin/backlog", str(Path(sys.executable).with_name("backlog"))))
    return unit


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """
    No setting that systemd does not know, no program that is not there.
    """
    unit = _unit(tmp_path)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    said = "\n".join(line for line in done.stderr.splitlines() if "backlog.service" in line)
    assert (done.returncode, said) == (0, "")


def test_the_unit_gives_little_to_who_breaks_in(tmp_path: Path) -> None:
    """
    What systemd itself finds exposed stays below 2 of 10.
    """
    unit = _unit(tmp_path)
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr


def test_prometheus_takes_the_rules() -> None:
    """
    Every expression is one.
    """
    done = subprocess.run(["promtool", "check", "rules", DEPLOY / "alerts.yml"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
