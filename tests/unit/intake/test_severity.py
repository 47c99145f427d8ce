import re
from pathlib import Path

import pytest

from backlog_store.intake import FORMATS, ReportContext
from backlog_store.intake.severity import TABLES, band, priority

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "reports.md"


def _rows() -> list[list[str]]:
    """Return the cells of the guide's table of severities."""
    text = GUIDE.read_text(encoding="utf-8").partition("| word |")[2].partition("\n\n")[0]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in ("| word |" + text).splitlines()]


def test_the_guide_has_the_tables_of_the_code() -> None:
    """Word by word, what the documentation promises is what the code does."""
    header, _, *rows = _rows()
    told = {
        format: {row[0]: row[column] for row in rows if row[column]} for column, format in enumerate(header) if column
    }
    assert told == TABLES


def test_the_guide_names_every_format() -> None:
    """Each format that can be read has its row."""
    section = GUIDE.read_text(encoding="utf-8").partition("## Formats")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([a-z][a-z-]*)` \|", section, re.MULTILINE)
    assert sorted(one.name for one in FORMATS) == sorted(named)


@pytest.mark.parametrize(
    ("score", "word"),
    [
        (10, "critical"), (9.0, "critical"), (8.9, "high"), ("7.0", "high"), (6.9, "medium"), (4, "medium"),
        (3.9, "low"), (0, "low"), (10.1, ""), (-1, ""), ("", ""), ("high", ""), (None, ""), ("nan", ""), ("inf", ""),
        ([], ""),
    ],
)  # fmt: skip
def test_scores_become_words_at_the_bounds_of_cvss(score: object, word: str) -> None:
    """CVSS 3.1, section 5; what is no score is no word."""
    assert word == band(score)


def test_overrides_win_word_by_word() -> None:
    """A word of one's own, another meaning for a known word, and one priority for all."""
    context = ReportContext(severities={"error": "P3", "blocker": "P0"})
    assert "P3" == priority(context, "sarif", "error")
    assert "P2" == priority(context, "sarif", "warning")
    assert "P0" == priority(context, "junit", "Blocker ")
    assert "P1" == priority(ReportContext(priority="P1"), "sarif", "note")


def test_the_first_known_word_decides() -> None:
    """A score's word comes before a level; unknown words fall through to `unknown`."""
    assert "P0" == priority(ReportContext(), "sarif", "critical", "note")
    assert "P3" == priority(ReportContext(), "sarif", "", "note")
    assert "P2" == priority(ReportContext(), "trivy", "no such word")
