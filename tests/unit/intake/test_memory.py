import json
import subprocess
import sys
from pathlib import Path

from tests.unit.intake.reading import result

#: Reads a report in a process of its own and prints findings, and the growth of its memory in bytes.
PROGRAM = """
import resource, sys
from backlog_store.intake import Finding, ReportContext, read_report
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as stream:
    format, parsed = read_report(stream, ReportContext(service="s"))
    found = sum(isinstance(one, Finding) for one in parsed)
print(found, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""
SIZE = 60_000_000


def measure(file: Path) -> tuple[int, float]:
    """
    Return how many findings a report gave, and by how many times its size the memory grew.
    """
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(file)], check=True, capture_output=True, text=True)
    found, grown = done.stdout.split()
    return int(found), int(grown) / file.stat().st_size


def test_a_large_sarif_report_needs_little_more_than_its_size(tmp_path: Path) -> None:
    """60 MB of findings need less than twice that; a tree of Python objects would need seven times as much."""
    file = tmp_path / "large.sarif"
    flow = [{"location": {"physicalLocation": {"region": {"startLine": n}}}} for n in range(60)]
    count = 0
    with file.open("w", encoding="utf-8") as out:
        out.write('{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "lint"}}, "results": [')
        while out.tell() < SIZE:
            one = result(path=f"src/p{count % 97}.py", line=count + 1, snippet=f"x{count} = {count}", codeFlows=flow)
            out.write(("," if count else "") + json.dumps(one))
            count += 1
        out.write("]}]}")
    found, times = measure(file)
    assert count == found
    assert times < 2


def test_a_large_junit_report_needs_little_more_than_its_size(tmp_path: Path) -> None:
    """No tree of the XML is built; what passed, and what programs printed, is not kept."""
    file = tmp_path / "large.xml"
    count = 0
    with file.open("w", encoding="utf-8") as out:
        out.write('<testsuites><testsuite name="s">')
        while out.tell() < SIZE:
            out.write(f'<testcase classname="c" name="t{count}"><failure message="m">no</failure></testcase>')
            out.write(f'<testcase classname="d" name="t{count}"><system-out>{"log " * 4_000}</system-out></testcase>')
            count += 1
        out.write("</testsuite></testsuites>")
    found, times = measure(file)
    assert count == found
    assert times < 2


def test_lines_and_rows_are_not_collected(tmp_path: Path) -> None:
    """NDJSON holds one line at a time: its memory does not grow with the file."""
    file = tmp_path / "large.ndjson"
    line = json.dumps({"title": "x", "dedupe_key": "k", "description": "d" * 10_000}) + "\n"
    file.write_text(line * 6_000, encoding="utf-8")
    found, times = measure(file)
    assert found == 6_000
    assert times < 0.3
