import io

import pytest

from backlog_store.errors import InvalidInput
from backlog_store.intake import Finding, ReportContext, read_report
from tests.unit.intake.reading import SHOP, claims, drafts, keys, load, read


def suite(*cases: str, name: str = "unit") -> str:
    """Return a JUnit report of one suite."""
    return f'<testsuites><testsuite name="{name}">{"".join(cases)}</testsuite></testsuites>'


def case(name: str = "t", body: str = '<failure message="m">text</failure>', more: str = "") -> str:
    """Return a test case."""
    return f'<testcase classname="pkg.C" name="{name}" {more}>{body}</testcase>'


def test_failures_and_errors_of_a_real_run() -> None:
    """Two failures and an error are drafts; what passed or was skipped is none."""
    found = drafts(load("pytest.xml"))
    assert [("failure", "test_total"), ("failure", "test_price_is_positive[-1]"), ("error", "test_pays")] == [
        (draft.meta["kind"], draft.key_inputs["test"]) for draft in found
    ]
    assert {"test_failure"} == {draft.category for draft in found}
    assert "assert 3 == 4" in found[0].description


def test_another_tools_dialect() -> None:
    """Checkov writes a `file` and indents its elements; four checks failed."""
    found = drafts(load("checkov-junit.xml", ReportContext(service="s")))
    assert 4 == len(found)
    assert ["/Dockerfile"] == found[0].evidence_refs["locations"]


def test_times_addresses_and_lines_are_no_change() -> None:
    """What differs from run to run is kept out of what makes a report a change."""
    first, second = (
        read(
            suite(case(more=f'time="{n}"', body=f'<failure message="at 0x7f00{n}0 in a.py:{n} on {day}">{n}</failure>'))
        )
        for n, day in ((11, "2026-01-01T10:00:00"), (22, "2026-01-02T11:00:01Z"))
    )
    assert keys(first) == keys(second)
    assert claims(drafts(first)[0]) == claims(drafts(second)[0])


def test_suite_class_and_name_are_the_identity() -> None:
    """The same test in another suite is another problem; one that is said twice is told once."""
    assert keys(read(suite(case()))) != keys(read(suite(case(), name="integration")))
    assert keys(read(suite(case()))) != keys(read(suite(case("u"))))
    parsed = read(suite(case(), case()))
    assert 1 == len(drafts(parsed))
    assert 2 == len(parsed)


def test_equal_tests_of_different_outer_suites_are_numbered() -> None:
    """Suites may be nested, and an inner one called as one of another outer suite: neither failure is lost."""
    inner = suite(case()).removeprefix("<testsuites>").removesuffix("</testsuites>")
    outer = [f'<testsuite name="{name}">{inner}</testsuite>' for name in ("linux", "macos", "linux")]
    parsed = read(f"<testsuites>{''.join(outer)}</testsuites>")
    first, second = keys(parsed)
    assert f"{first}#2" == second
    assert [first] == keys(read(f"<testsuites>{outer[1]}</testsuites>"))
    assert 3 == len(parsed)


def test_what_failed_only_at_first_is_no_failure() -> None:
    """Surefire runs failed tests again: what passed then is flaky, what failed again is one failure."""
    flaky = '<flakyFailure message="once"><stackTrace>at A</stackTrace></flakyFailure><system-out>x</system-out>'
    again = '<rerunFailure message="again"><stackTrace>at B</stackTrace></rerunFailure>'
    found = drafts(read(suite(case("a", flaky), case("b", f'<failure message="m">text</failure>{again}'))))
    assert [("b", "text")] == [(draft.key_inputs["test"], draft.meta["output"]) for draft in found]


@pytest.mark.parametrize("head", ["", '<?xml version="1.0" encoding="UTF-8"?>\n', "<!-- made by hand -->"])
def test_prologues_are_passed_over(head: str) -> None:
    """A declaration and comments make no difference."""
    assert 1 == len(drafts(read(head + suite(case()))))


def test_utf16_xml_says_its_encoding() -> None:
    """XML may be UTF-16; its mark says so."""
    text = '<?xml version="1.0" encoding="UTF-16"?>' + suite(case("größe"))
    assert ["größe"] == [draft.key_inputs["test"] for draft in drafts(read(text.encode("utf-16")))]


def test_a_bare_suite_and_nested_suites_are_read() -> None:
    """The root may be one suite, and suites may hold suites."""
    assert 1 == len(drafts(read(f'<testsuite name="a"><testsuite name="b">{case()}</testsuite></testsuite>')))


BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>
<testsuites><testsuite name="&c;"/></testsuites>"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>', "document type"),
        ("<html><body/></html>", "not JUnit XML"),
        (suite(case())[:-5], "cut off"),
        (suite(case())[:60], "cut off"),
        ("<testsuites><testsuite></testsuites>", "mismatched tag"),
        ("<testsuite>" * 200, "nested deeper"),
        ('<testsuite name="&undefined;"/>', "undefined entity"),
        ('<?xml version="1.0" encoding="no-such"?><testsuite/>', "unknown encoding"),
        ("<testsuite>\x01</testsuite>", "not well-formed"),
    ],
)
def test_bad_xml_is_refused_before_anything_is_taken_in(text: str, reason: str) -> None:
    """A bomb, a cut report, another vocabulary: an error with line and column, and no draft before it."""
    _, parsed = read_report(io.BytesIO(text.encode()), SHOP)
    with pytest.raises(InvalidInput, match=reason) as caught:
        next(parsed)
    assert "line" in caught.value.faults[0].value


def test_a_long_report_that_was_cut_off_gives_nothing() -> None:
    """Not even the thousands of cases that stand whole before the cut."""
    whole = suite(*(case(f"t{number}") for number in range(2_000)))
    assert 2_000 == len(drafts(read(whole)))
    _, parsed = read_report(io.BytesIO(whole[:-20].encode()), SHOP)
    with pytest.raises(InvalidInput, match="cut off"):
        next(parsed)


def test_a_case_without_a_name_is_refused_alone() -> None:
    """The others go on, and the refusal says where."""
    parsed = read(suite('<testcase classname="c"><error/></testcase>', case()))
    assert 1 == len([one for one in parsed if isinstance(one, Finding)])
    assert ["/testsuites[1]/testsuite[1]/testcase[1]"] == [
        one.pointer for one in parsed if not isinstance(one, Finding)
    ]
