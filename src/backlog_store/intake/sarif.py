"""
SARIF 2.1.0 (OASIS): what linters and scanners print.

What makes two results of two reports the same finding, the first that is there:

1. ``fingerprints`` with the rule;
2. the tool's own ``partialFingerprints`` with rule and file;
3. ``primaryLocationLineHash`` (CodeQL's, of the line's text) with rule and file;
4. the snippet, white space normalised, with rule and file;
5. the message, line numbers and such replaced, with rule and file.

Equal findings get a number (`keys.Ordinals`). Rules about secrets use neither snippet nor quoted text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from backlog_store.errors import Fault, InvalidInput
from backlog_store.intake import sarif_model as s
from backlog_store.intake import text as t
from backlog_store.intake.jsontext import decode, read_json
from backlog_store.intake.keys import Ordinals, dedupe_key, fingerprint, fix_name, inputs
from backlog_store.intake.severity import GRADED_ALIKE, band, priority
from backlog_store.intake.values import (
    Finding,
    Looked,
    Notice,
    Parsed,
    Refusal,
    ReportContext,
    merge_context,
    observed,
)
from backlog_store.model import LIMITS, Draft

__all__ = ["moved_key", "parse"]

#: Members of ``partialFingerprints`` that tell who or where, not what: gitleaks puts a person and a commit there.
_NO_IDENTITY = frozenset({
    "primarylocationstartcolumnfingerprint", "commitsha", "commitmessage", "author", "email", "date", "line",
    "startline", "endline", "commit",
})  # fmt: skip
_LINE_HASH = "primarylocationlinehash"
#: Snippets larger than this hold what is not the finding, and change with it.
_SNIPPET_LINES_MAX = 10
_SNIPPET_MAX = 1_000
_BASES_MAX = 5
#: Kinds of results that name no problem (SARIF 3.27.9); `open` and `review` may be one.
_NO_PROBLEM = frozenset({"pass", "notApplicable", "informational"})
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\d{1,4})\}")  # no message has more arguments


def parse(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield the findings of every run. Raises `InvalidInput` where the whole is no SARIF.
    """
    log = read_json(stream, s.Log)
    if log.version and not log.version.startswith("2."):
        raise InvalidInput([Fault("/version", log.version, "not SARIF 2.1.0; ask the tool for that version")],
                           what="report")  # fmt: skip
    ordinals = Ordinals()
    for index, raw in enumerate(log.runs or ()):
        pointer = f"/runs/{index}"
        try:
            run = _Run(decode(raw, s.Run, pointer), pointer, context, ordinals)
        except InvalidInput as error:
            yield Refusal(pointer, error.faults)
            continue
        yield from run.parsed()


class _Run:
    """
    One run: its tool, rules and files, and the results one by one.
    """

    def __init__(self, run: s.Run, pointer: str, context: ReportContext, ordinals: Ordinals) -> None:
        self.run = run
        self.pointer = pointer
        self.context = context
        self.ordinals = ordinals
        driver = run.tool.driver
        self.tool = t.slug(driver.name or "").removesuffix("-oss").removesuffix("-pro") or "sarif"
        self.version = driver.semanticVersion or driver.version or ""
        self.components = [driver, *(run.tool.extensions or ())]
        self.rules = [self._rules(component) for component in self.components]
        self.by_id = {rule.id: rule for rules in self.rules for rule in rules if rule.id}
        ended = [invocation.endTimeUtc or "" for invocation in run.invocations or ()]
        self.observed_at = observed(ended[-1]) if ended else ""
        revisions = [source.revisionId or "" for source in run.versionControlProvenance or ()]
        self.commit = t.one_line(revisions[0], 100) if revisions else ""
        self.told_absolute = False

    @staticmethod
    def _rules(driver: s.Driver) -> list[s.Rule]:
        rules = []
        for raw in driver.rules or ():
            try:
                rules.append(decode(raw, s.Rule, ""))
            except InvalidInput:
                # A rule only adds its name and level; its results stand without it, and indexes must keep fitting.
                rules.append(s.Rule())
        return rules

    def parsed(self) -> Iterator[Parsed]:
        """
        Yield what the run holds.
        """
        for index, invocation in enumerate(self.run.invocations or ()):
            if invocation.executionSuccessful is False:
                yield Notice(f"{self.pointer}/invocations/{index}", f"{self.tool} says that its run failed", True)
        found = False
        for index, raw in enumerate(self.run.results or ()):
            pointer = f"{self.pointer}/results/{index}"
            try:
                result = decode(raw, s.Result, pointer)
                passed_over = _passed_over(result)
                if passed_over:
                    yield Notice(pointer, passed_over)
                elif (result.kind or "fail") not in _NO_PROBLEM:
                    yield from self._finding(result, pointer)
                    found = True
            except InvalidInput as error:
                yield Refusal(pointer, error.faults)
        if not found:
            yield Looked(self.context.source or self.tool)

    def _finding(self, result: s.Result, pointer: str) -> Iterator[Parsed]:
        rule = self._rule(result)
        name = result.ruleId or (result.rule.id if result.rule else None) or rule.id or "no-rule"
        env, service, source, category = merge_context(
            self.context, kind="SARIF", source=self.tool, category=self._category(rule)
        )
        tags = _texts((rule.properties or {}).get("tags"))
        secret = t.is_secret_rule(self.tool, name, rule.name or "", *tags)
        message = t.clean(_message(result.message, rule)).strip()
        if secret and self.tool != "ruff":  # ruff quotes the variable's name, never its value
            message = t.redact_quoted(message)
        message = t.steady(message) or _text(rule.shortDescription) or name
        path, region, logical = self._place(result)
        if t.is_absolute(path) and not self.told_absolute:
            self.told_absolute = True
            yield Notice(pointer, f"{path} is an absolute path, so its key holds only where the folder has the same "
                                  "name; name the folder with --root")  # fmt: skip
        snippet = "" if secret or region.snippet is None else t.clean(region.snippet.text or "").strip("\n")
        identity = _identity(result, path or logical, message, snippet, region)
        key = dedupe_key("sarif", service, self.tool, name, fingerprint(self.tool, name, *identity.values()))
        nth = self.ordinals.nth(
            key, path, region.startLine, region.startColumn, region.endLine, region.endColumn, message
        )
        weaknesses = t.cwes(*tags, *_texts((result.properties or {}).get("tags")), *_weaknesses(rule, result))
        level = result.level or (rule.defaultConfiguration.level if rule.defaultConfiguration else None)
        level = level or ("error" if t.is_secret_rule(self.tool) else "warning")  # a leaked secret is no warning
        score = _score(rule, result)
        words = (band(score), "warning" if self.tool in GRADED_ALIKE and level == "error" else level)
        shown = path or logical
        yield Finding(Draft(
            title=t.one_line(f"{t.one_line(message, 200)} ({name}{f', {shown}' if shown else ''})"),
            env=env,
            service=service,
            category=category,
            description=_describe(rule, name, message, shown, weaknesses, snippet),
            priority=priority(self.context, "sarif", *words),
            source=source,
            dedupe_key=key if nth == 1 else f"{key}#{nth}",
            evidence_refs=_evidence(path, region, rule),
            tags=_tags(self.context, self.tool, weaknesses),
            meta=_meta(self.tool, name, level, score, weaknesses, rule)
            | {n: v for n, v in (("tool_version", self.version), ("commit", self.commit)) if v},
            fix=fix_name("rule", name, shown),
            key_inputs=inputs(tool=self.tool, service=service, rule=name, **identity, nth="" if nth == 1 else str(nth)),
            volatile=("tool_version", "commit"),
            observed_at=self.observed_at,
        ), pointer)  # fmt: skip

    def _rule(self, result: s.Result) -> s.Rule:
        reference = result.rule
        component = self._component(reference.toolComponent) if reference and reference.toolComponent else 0
        index = reference.index if reference and reference.index >= 0 else result.ruleIndex
        rules = self.rules[component] if 0 <= component < len(self.rules) else []
        if 0 <= index < len(rules):
            return rules[index]
        id = result.ruleId or (reference.id if reference else None) or ""
        # SARIF 3.27.5: "CA1000/1" is a finer name for the rule "CA1000".
        return self.by_id.get(id) or self.by_id.get(id.rpartition("/")[0]) or s.Rule()

    def _component(self, named: s.ToolComponent) -> int:
        """
        Return which of the components a reference means (SARIF 3.54): by index, GUID or name; -1 for none of them.
        """
        if named.index >= 0:
            return named.index + 1
        if not named.guid and not named.name:
            return 0
        for number, component in enumerate(self.components):
            if (named.guid or component.guid) == component.guid and (named.name or component.name) == component.name:
                return number
        return -1

    def _category(self, rule: s.Rule) -> str:
        properties = rule.properties or {}
        security = "security-severity" in properties or "security" in _texts(properties.get("tags"))
        security = security or properties.get("kind") == "flake8-bandit" or t.is_secret_rule(self.tool)
        return "security" if security or self.tool in _SECURITY_TOOLS else "code_quality"

    def _place(self, result: s.Result) -> tuple[str, s.Region, str]:
        """
        Return the file, the part of it, and the name of the thing where there is no file.
        """
        location = result.locations[0] if result.locations else s.Location()
        named = location.logicalLocations[0] if location.logicalLocations else s.LogicalLocation()
        logical = t.one_line(t.clean(named.fullyQualifiedName or named.name or ""), 500)
        physical = location.physicalLocation
        if physical is None:
            return "", s.Region(), logical
        path = self._path(physical.artifactLocation) if physical.artifactLocation else ""
        return t.clean(t.clip(path, 1_000)), physical.region or s.Region(), logical

    def _path(self, location: s.ArtifactLocation) -> str:
        artifacts = self.run.artifacts or []
        if location.uri is None and 0 <= location.index < len(artifacts):
            location = artifacts[location.index].location or location
        uri, base = location.uri or "", location.uriBaseId
        for _ in range(_BASES_MAX):
            parent = (self.run.originalUriBaseIds or {}).get(base or "")
            # An absolute base is a machine's folder; a relative one is part of the path.
            if parent is None or not parent.uri or t.is_absolute(t.relative_path(parent.uri)) or "://" in parent.uri:
                break
            uri, base = parent.uri.rstrip("/") + "/" + uri, parent.uriBaseId
        return t.relative_path(uri, self.context.root)


_SECURITY_TOOLS = frozenset({
    "bandit", "brakeman", "checkov", "dockle", "gosec", "grype", "kics", "njsscan", "semgrep", "snyk", "terrascan",
    "tfsec", "trivy", "zizmor",
})  # fmt: skip


def _passed_over(result: s.Result) -> str:
    suppressions = result.suppressions or ()
    # One that is under review or rejected stands for all: the result is to be seen.
    if suppressions and not any(one.status in ("rejected", "underReview") for one in suppressions):
        return f"suppressed in the source ({suppressions[0].kind or 'no kind given'})"
    return "absent from the code now, says the report" if result.baselineState == "absent" else ""


def _identity(result: s.Result, path: str, message: str, snippet: str, region: s.Region) -> dict[str, str]:
    whole = _prints(result.fingerprints)
    if whole:
        return {"by": "fingerprints", "fingerprints": whole}
    partial = result.partialFingerprints or {}
    own = _prints({name: value for name, value in partial.items() if name.lower().split("/")[0] != _LINE_HASH})
    if own:
        return {"by": "partialFingerprints", "path": path, "partialFingerprints": own}
    line = _prints({name: value for name, value in partial.items() if name.lower().split("/")[0] == _LINE_HASH})
    if line:
        return {"by": "primaryLocationLineHash", "path": path, "primaryLocationLineHash": line}
    normal = " ".join(snippet.split())
    lines = region.endLine - region.startLine if region.endLine else 0
    if normal and len(normal) <= _SNIPPET_MAX and lines < _SNIPPET_LINES_MAX:
        return {"by": "snippet", "path": path, "snippet": normal}
    return {"by": "message", "path": path, "message": t.numberless(message)}


def moved_key(key: str, inputs: Mapping[str, str], path: str) -> str:
    """
    Return the key that a finding has once its file has another *path*; empty where its inputs do not make *key*.

    That is: where it is no finding of a file, or where inputs were cut before they were stored.
    """
    named = {name: inputs.get(name, "") for name in ("tool", "service", "rule")}
    by = inputs.get("by", "")
    if not all(named.values()) or by not in inputs or not inputs.get("path"):
        return ""

    def made(of: str) -> str:
        print_ = fingerprint(named["tool"], named["rule"], by, of, inputs[by])
        nth = inputs.get("nth", "")
        return dedupe_key("sarif", named["service"], named["tool"], named["rule"], print_) + (nth and f"#{nth}")

    return made(path) if made(inputs["path"]) == key else ""


def _prints(prints: Mapping[str, Any] | None) -> str:
    """
    Return fingerprints as one text: of each name the lowest version, so that a newer one beside it changes nothing.

    Stand-ins are left out: semgrep without an account writes ``requires login`` for all findings.
    """
    kept: dict[str, tuple[str, str]] = {}
    for name, value in sorted((prints or {}).items()):
        bare, _, version = name.partition("/")
        sound = isinstance(value, str) and len(value) >= 8 and " " not in value and any(c.isdigit() for c in value)
        if sound and bare.lower() not in _NO_IDENTITY and bare not in kept:
            kept[bare] = (version, value)
    return " ".join(f"{bare}={value}" for bare, (_, value) in kept.items())


def _message(message: s.Message | None, rule: s.Rule) -> str:
    """
    Return the text of a result's message (SARIF 3.11): its own, or the rule's with the arguments put in.
    """
    message = message or s.Message()
    text = message.text or message.markdown or ""
    if not text and message.id:
        text = _text((rule.messageStrings or {}).get(message.id))
    given = message.arguments or ()

    def filled(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]  # a doubled brace is one
        index = int(found[1])
        return given[index] if index < len(given) else found[0]

    return _unlinked(_PLACEHOLDER.sub(filled, text) if given else text)


def _unlinked(text: str) -> str:
    """
    Replace SARIF's embedded links ``[text](1)`` to other places of the report by their text.
    """
    return t.EMBEDDED_LINK.sub(r"\1", text)


def _text(message: s.Message | None) -> str:
    return t.clean((message.text or message.markdown or "") if message else "").strip()


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _score(rule: s.Rule, result: s.Result) -> str:
    for properties in (result.properties, rule.properties):
        value = (properties or {}).get("security-severity")
        if band(value):
            return str(value)
    return ""


def _weaknesses(rule: s.Rule, result: s.Result) -> list[str]:
    """
    Return texts of properties that may name a weakness: ``cwe`` as a text or a list.
    """
    found = []
    for properties in (rule.properties or {}, result.properties or {}):
        for name, value in properties.items():
            if name.lower().startswith("cwe"):
                found += [value] if isinstance(value, str) else _texts(value)
    return found


def _describe(rule: s.Rule, name: str, message: str, place: str, weaknesses: list[str], snippet: str) -> str:
    label = name if rule.name in (None, "", name) else f"{name} {t.one_line(t.clean(rule.name or ''), 100)}"
    page = rule.helpUri or ""
    # A page below a version of the tool moves with each release: it is kept with the evidence only.
    shown = t.link(label, page) if page and not t.VERSION.search(page) else label
    facts = t.bullet("Rule", shown) + t.bullet("Where", t.code(place)) + t.bullet("Weakness", ", ".join(weaknesses))
    body = f"\n{t.fenced(snippet)}\n" if snippet.strip() else ""
    return f"{t.clip(message)}\n\n{facts}{body}"


def _evidence(path: str, region: s.Region, rule: s.Rule) -> dict[str, Any]:
    evidence: dict[str, Any] = {}
    if path:
        evidence["locations"] = [f"{path}:{region.startLine}" if region.startLine > 0 else path]
    if pages := t.addresses([rule.helpUri or ""]):
        evidence["urls"] = pages
    return evidence


def _tags(context: ReportContext, tool: str, weaknesses: list[str]) -> tuple[str, ...]:
    named = [*context.tags, tool, *(weakness.lower() for weakness in weaknesses)]
    return tuple(tag[: LIMITS.tag] for tag in dict.fromkeys(named))[: LIMITS.tags]


def _meta(tool: str, name: str, level: str, score: str, weaknesses: list[str], rule: s.Rule) -> dict[str, Any]:
    given = {
        "tool": tool,
        "rule": name,
        "rule_name": t.one_line(t.clean(rule.name or ""), 200),
        "level": level,
        "security_severity": score,
        "cwe": weaknesses,
    }
    return {member: value for member, value in given.items() if value}
