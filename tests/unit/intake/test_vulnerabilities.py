import json
from typing import Any

import pytest

from backlog_store.intake import ReportContext
from backlog_store.intake.vulnerability import main_id
from tests.unit.intake.reading import REPORTS, drafts, keys, load, notices, read, refusals


def test_pip_audit_names_package_versions_and_fix() -> None:
    """Each vulnerability is one draft, and those of one package are one fix."""
    found = drafts(load("pip-audit.json"))
    assert [
        ("pypi/jinja2", "GHSA-h5c8-rqwp-cp95"),
        ("pypi/jinja2", "GHSA-h75v-3vvj-5mfj"),
        ("pypi/requests", "GHSA-j8r2-6x86-q33q"),
        ("pypi/pyyaml", "GHSA-8q59-q68h-6hv4"),
    ] == [(draft.key_inputs["package"], draft.key_inputs["vulnerability"]) for draft in found]
    assert ["upgrade:pypi/jinja2", "upgrade:pypi/jinja2"] == [draft.fix for draft in found[:2]]
    assert ["3.1.2"] == found[0].meta["versions"]
    assert ["3.1.3"] == found[0].meta["fixed_in"]
    assert ("security", "pip-audit", "P2") == (found[0].category, found[0].source, found[0].priority)


def test_pip_audits_choice_of_id_makes_no_difference() -> None:
    """Releases of pip-audit differ in which of the ids they put first; the key is the same."""
    vuln = {"id": "PYSEC-2023-74", "aliases": ["CVE-2023-32681", "GHSA-j8r2-6x86-q33q"], "fix_versions": []}
    other = {"id": "CVE-2023-32681", "aliases": ["GHSA-j8r2-6x86-q33q", "PYSEC-2023-74"], "fix_versions": []}
    reports = [{"dependencies": [{"name": "requests", "version": "2", "vulns": [one]}]} for one in (vuln, other)]
    first, second = (drafts(read(report)) for report in reports)
    assert first == second


@pytest.mark.parametrize("name", ["PyYAML", "pyyaml", "Py_YAML".replace("_", "")])
def test_spellings_of_a_package_are_one(name: str) -> None:
    """Python package names differ in case only by accident."""
    report = [{"name": name, "version": "5.3", "vulns": [{"id": "PYSEC-1", "fix_versions": []}]}]
    assert ["pip-audit:acme/shop:pypi/pyyaml:PYSEC-1"] == keys(read(report))


def test_an_upgrade_that_does_not_help_keeps_the_key() -> None:
    """The installed version is no part of the key."""
    old, new = (
        [{"name": "a", "version": version, "vulns": [{"id": "PYSEC-1", "fix_versions": ["9"]}]}]
        for version in ("1", "2")
    )
    assert keys(read(old)) == keys(read(new))


def test_pip_audit_tells_what_it_did_not_audit() -> None:
    """A skipped dependency makes the report incomplete."""
    parsed = load("pip-audit-skipped.json")
    assert [] == drafts(parsed)
    assert [True] * 3 == [notice.incomplete for notice in notices(parsed)]
    assert "jinja2 was not audited" in notices(parsed)[0].reason


def test_npm_audit_reports_advisories_not_the_packages_they_pass_through() -> None:
    """One draft an advisory; a package affected through another is told."""
    parsed = load("npm-audit.json")
    assert [
        "npm-audit:acme/shop:npm/lodash:GHSA-35jh-r3h4-6jhm",
        "npm-audit:acme/shop:npm/lodash:GHSA-p6mc-m468-83gw",
        "npm-audit:acme/shop:npm/minimist:GHSA-xvch-5gv4-984h",
    ] == keys(parsed)
    assert ["/vulnerabilities/mkdirp"] == [notice.pointer for notice in notices(parsed)]
    lodash, _, minimist = drafts(parsed)
    assert ("P1", ["CWE-77", "CWE-94"]) == (lodash.priority, lodash.meta["cwe"])
    assert ["<0.2.4", ">=1.0.0 <1.2.6"] == minimist.meta["versions"]
    assert ("P0", "upgrade:npm/mkdirp") == (minimist.priority, minimist.fix)


@pytest.mark.parametrize(
    ("fix", "expected"),
    [(True, "upgrade:npm/lodash"), (False, ""), ({"name": "parent", "version": "2"}, "upgrade:npm/parent")],
)
def test_npm_audits_fix_is_named(fix: object, expected: str) -> None:
    """An upgrade in range, none at all, or that of a direct dependency."""
    package = {"name": "lodash", "via": [{"url": "https://x.test/GHSA-1", "title": "t"}], "fixAvailable": fix}
    assert [expected] == [
        d.fix for d in drafts(read({"auditReportVersion": 2, "vulnerabilities": {"lodash": package}}))
    ]


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ({"message": "405 Method Not Allowed", "error": {}}, "the audit failed"),
        ({"advisories": {}, "metadata": {}}, "npm 6"),
        ({}, "missing"),
    ],
)
def test_npms_word_that_the_audit_failed_is_no_empty_report(report: dict[str, Any], reason: str) -> None:
    """An error of npm is JSON, too; it does not mean that nothing was found."""
    with pytest.raises(ValueError, match=reason):
        read(report, format="npm-audit")


def test_osv_groups_are_one_vulnerability() -> None:
    """Two databases' records of one vulnerability are one draft, with the group's score."""
    context = ReportContext(service="acme/shop", root="/builds/acme/shop")
    found = drafts(load("osv-scanner.json", context))
    assert [
        "osv-scanner:acme/shop:package-lock.json:npm/minimist:GHSA-vh95-rmgr-6w4m",
        "osv-scanner:acme/shop:package-lock.json:npm/minimist:GHSA-xvch-5gv4-984h",
        "osv-scanner:acme/shop:requirements.txt:pypi/jinja2:GHSA-h5c8-rqwp-cp95",
    ] == [draft.dedupe_key for draft in found]
    # 5.6, 9.8, and no score but the word MODERATE
    assert ["P2", "P0", "P2"] == [draft.priority for draft in found]
    assert ["CVE-2024-22195", "PYSEC-2024-100"] == found[2].meta["aliases"]
    assert ["1.2.2"] == found[0].meta["fixed_in"]


def test_osv_tells_of_absolute_paths() -> None:
    """Without a root the keys hold on one machine only, which is told once."""
    parsed = load("osv-scanner.json")
    assert 3 == len(drafts(parsed))
    assert ["--root" in notice.reason for notice in notices(parsed)] == [True]


def test_trivy_merges_copies_and_forgets_tags_and_releases() -> None:
    """Two copies of a package are one problem; neither the image's tag nor the system's release is in a key."""
    report = (REPORTS / "trivy.json").read_text(encoding="utf-8")
    newer = report.replace("shop:1.4.2", "shop:1.5.0").replace("3.10.2", "3.10.9").replace("4.17.15", "4.17.16")
    assert newer != report
    assert keys(read(report)) == keys(read(newer))
    lodash = next(draft for draft in drafts(read(report)) if draft.meta.get("package") == "lodash")
    assert ["4.17.15", "4.17.20"] == lodash.meta["versions"]
    assert 2 == len(lodash.evidence_refs["locations"])


def test_trivy_knows_three_kinds_of_findings() -> None:
    """Vulnerabilities, failed checks and secrets; a check that passed is none."""
    found = drafts(load("trivy.json"))
    assert 5 == len([draft for draft in found if "vulnerability" in draft.meta])
    assert ["DS002"] == [draft.meta["rule"] for draft in found if "misconfiguration" in draft.tags]
    assert [("aws-access-key-id", "P0")] == [(d.meta["rule"], d.priority) for d in found if "secret" in d.tags]
    assert ["2026-11-23T09:00:00.000000Z"] == list({draft.observed_at for draft in found})


def test_trivys_findings_of_one_check_in_one_file_are_told_apart() -> None:
    """Two failed checks at two places are two problems, whose keys do not move with the lines."""

    def report(*lines: int) -> dict[str, Any]:
        checks = [{"ID": "X1", "Status": "FAIL", "Message": "m", "CauseMetadata": {"StartLine": n}} for n in lines]
        return {"SchemaVersion": 2, "Results": [{"Target": "a.tf", "Class": "config", "Misconfigurations": checks}]}

    assert 2 == len(set(keys(read(report(3, 9)))))
    assert keys(read(report(3, 9))) == keys(read(report(53, 59)))


@pytest.mark.parametrize("name", ["pip-audit.json", "npm-audit.json", "osv-scanner.json", "trivy.json"])
def test_one_bad_vulnerability_is_refused_and_the_rest_go_on(name: str) -> None:
    """A number where an id should be refuses that one alone, with its pointer."""
    report = json.loads((REPORTS / name).read_text(encoding="utf-8"))
    whole = len(drafts(read(report)))
    if name == "pip-audit.json":
        report["dependencies"][1]["vulns"][0]["id"] = 5
    elif name == "npm-audit.json":
        report["vulnerabilities"]["minimist"]["via"] = 5
    elif name == "osv-scanner.json":
        report["results"][1]["packages"][0]["package"]["name"] = 5
    else:
        report["Results"][0]["Vulnerabilities"][1]["VulnerabilityID"] = 5
    parsed = read(report)
    (refused,) = refusals(parsed)
    assert whole - 1 == len([one for one in parsed if hasattr(one, "draft")])
    assert refused.faults[0].pointer.startswith(refused.pointer + "/")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["CVE-2024-1", "GHSA-aaaa", "PYSEC-2024-1"], "GHSA-aaaa"),
        (["CVE-2024-1", "PYSEC-2024-1"], "PYSEC-2024-1"),
        (["GO-2024-1", "CVE-2024-1"], "GO-2024-1"),
        (["CVE-2024-2", "CVE-2024-1"], "CVE-2024-1"),
        ([], ""),
    ],
)
def test_the_main_id_is_chosen_by_name(ids: list[str], expected: str) -> None:
    """GHSA before a database's own before CVE, in whatever order they come."""
    assert expected == main_id(ids) == main_id(reversed(ids))


def osv(affected: list[dict[str, object]], ecosystem: str = "PyPI") -> dict[str, object]:
    """Return a report of OSV-Scanner of one vulnerability."""
    package = {"name": "bootstrap", "version": "3.0.0", "ecosystem": ecosystem}
    vulnerability = {"id": "PYSEC-1", "affected": affected}
    packages = [{"package": package, "vulnerabilities": [vulnerability], "groups": [{"ids": ["PYSEC-1"]}]}]
    return {"results": [{"source": {"path": "uv.lock"}, "packages": packages}]}


def affected(ecosystem: str, fixed: str, kind: str = "ECOSYSTEM") -> dict[str, object]:
    """Return what an OSV record says of one package."""
    ranges = [{"type": kind, "events": [{"introduced": "0"}, {"fixed": fixed}]}]
    return {"package": {"name": "bootstrap", "ecosystem": ecosystem}, "ranges": ranges}


def test_a_fixing_commit_is_no_fixed_version() -> None:
    """OSV records tell of releases and of commits; an upgrade goes to a release."""
    (draft,) = drafts(read(osv([affected("PyPI", "74ea7cf7a6a2", "GIT"), affected("PyPI", "3.4.1")])))
    assert ["3.4.1"] == draft.meta["fixed_in"]


def test_a_namesake_of_another_ecosystem_fixes_nothing() -> None:
    """One record may be about packages of one name on npm, PyPI and others."""
    (draft,) = drafts(read(osv([affected("npm", "4.3.1"), affected("PyPI", "3.4.1")])))
    assert ["3.4.1"] == draft.meta["fixed_in"]
    (draft,) = drafts(read(osv([affected("npm", "4.3.1")])))
    assert ("", None) == (draft.fix, draft.meta.get("fixed_in"))


def test_the_release_of_a_distribution_is_the_installed_one() -> None:
    """Debian fixes a package in each of its releases; where no entry names this one, its siblings are shown."""
    both = [affected("Debian:11", "3.4.1-1"), affected("Debian:12", "3.4.1-2")]
    assert ["3.4.1-2"] == drafts(read(osv(both, "Debian:12")))[0].meta["fixed_in"]
    assert ["3.4.1-1", "3.4.1-2"] == drafts(read(osv(both, "Debian:13")))[0].meta["fixed_in"]
