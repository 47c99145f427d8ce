"""
The files of deploy/ as the programs read them that they are for.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


#: What is counted in ten minutes, a sample each, and which alerts fire then.
ALERTS = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'backlog_http_requests_total{{route="/api/v1/items", status="200"}}', values: "0+600x20"}}
      - {{series: 'backlog_http_requests_total{{route="{route}", status="503"}}', values: "0+60x20"}}
      - {{series: 'backlog_store_up{{job="backlog"}}', values: "1x20"}}
      - {{series: 'up{{job="backlog", instance="a"}}', values: "1x20"}}
    alert_rule_test:
      - eval_time: 15m
        alertname: BacklogErrors
        exp_alerts: {expected}
      - {{eval_time: 15m, alertname: BacklogDown, exp_alerts: []}}
      - {{eval_time: 15m, alertname: BacklogStoreAway, exp_alerts: []}}
"""
FAILING = """
          - exp_labels: {severity: page}
            exp_annotations:
              summary: 9.091% of requests fail
              description: The log names each of them, with the id that its caller was told."""


@pytest.mark.parametrize(("route", "expected"), [("/api/v1/items", FAILING), ("/readyz", "[]")])
def test_nobody_is_called_because_a_service_says_that_it_is_not_ready(
    tmp_path: Path, route: str, expected: str
) -> None:
    """
    Requests that fail call somebody; that a service drains, or says that its store is away, is no failed request.
    """
    test = tmp_path / "test.yml"
    test.write_text(ALERTS.format(rules=DEPLOY / "alerts.yml", route=route, expected=expected))
    done = subprocess.run(["promtool", "test", "rules", test], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    """
    Every expression is one.
    """
    done = subprocess.run(["promtool", "check", "rules", DEPLOY / "alerts.yml"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
