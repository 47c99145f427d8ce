"""
From a file's text to a policy: completely checked, every fault with line, column, caret and suggestion.

Nothing is read here but the text that is handed in; which further files a policy names, `Loaded.files_wanted` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from backlog_store.errors import Fault, InvalidInput
from backlog_store.policy import Policy, PolicyFormat
from backlog_store.policy.findings import Finding, Mark
from backlog_store.policy.nodes import Table, Unreadable, read_yaml
from backlog_store.policy.sections import SECTIONS
from backlog_store.policy.typed import Typist

__all__ = ["FILE_MAX", "Loaded", "format_of", "load_policy", "require_policy"]

#: Characters of a policy file, and of each file that it names.
FILE_MAX = 262_144
_START = Mark(1, 1)
#: What ends a line, as each format counts them.
_YAML_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_TOML_BREAK = re.compile("\r?\n")


class Loaded(Struct, frozen=True, kw_only=True):
    """
    What a policy file comes to. `policy` is ``None`` where there is a fault; warnings leave it usable.
    """

    policy: Policy | None
    findings: tuple[Finding, ...] = ()
    text: str = ""
    lines: tuple[str, ...] = ()
    files_wanted: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> tuple[Finding, ...]:
        """
        Return what is wrong.
        """
        return tuple(finding for finding in self.findings if not finding.warning)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """
        Return what is odd.
        """
        return tuple(finding for finding in self.findings if finding.warning)

    def drawn(self, name: str) -> Iterator[str]:
        """
        Yield every finding as lines for people, with the line of the file and a caret below.
        """
        for finding in self.findings:
            lines = self.files.get(finding.file, "").splitlines() if finding.file else self.lines
            yield from finding.drawn(name, lines)


def format_of(name: str) -> PolicyFormat:
    """
    Return the format of a file of this name: ``.toml`` is TOML, all else YAML (of which JSON is a part).
    """
    return "toml" if name.lower().endswith(".toml") else "yaml"


def load_policy(text: str, *, format: PolicyFormat = "yaml", files: Mapping[str, str] | None = None) -> Loaded:
    """
    Read a policy. *files* holds the texts of files that it may name, by the names that it uses.
    """
    lines = tuple((_YAML_BREAK if format == "yaml" else _TOML_BREAK).split(text))
    given = dict(files or {})
    try:
        root, findings = _read(text, format)
    except Unreadable as error:
        return Loaded(policy=None, findings=(error.finding,), text=text, lines=lines)
    typist = Typist()
    typist.findings += findings
    if root is None:
        root = Table({}, _START)
    if not isinstance(root, Table):
        finding = Finding(pointer="", reason="is no table of sections", mark=root.mark)
        return Loaded(policy=None, findings=(*typist.findings, finding), text=text, lines=lines)
    policy = _policy(root, typist)
    wanted = tuple(dict.fromkeys(_files_wanted(policy)))
    policy = replace(policy, files={name: given[name] for name in wanted if name in given})
    found = [*typist.findings]
    found += (typist.placed(finding) for name in SECTIONS for finding in _checked(policy, name))
    found.sort(key=lambda one: (one.file, one.mark.line if one.mark else 0, one.mark.column if one.mark else 0))
    faulty = any(not finding.warning for finding in found)
    return Loaded(policy=None if faulty else policy, findings=tuple(found), text=text, lines=lines, files_wanted=wanted,
                  files=given)  # fmt: skip


def require_policy(text: str, *, format: PolicyFormat = "yaml", files: Mapping[str, str] | None = None) -> Loaded:
    """
    Read a policy that has to be sound. Raises `InvalidInput` with every fault and its place.
    """
    loaded = load_policy(text, format=format, files=files)
    if loaded.policy is None:
        faults = [Fault(one.pointer, one.place, one.text) for one in loaded.faults]
        raise InvalidInput(faults, what="policy", hint="`backlog policy check FILE` shows each place.")
    return loaded


def _read(text: str, format: PolicyFormat) -> Any:
    if len(text) > FILE_MAX:
        reason = f"has {len(text):,} characters; at most {FILE_MAX:,} are read"
        raise Unreadable(Finding(pointer="", reason=reason))
    if format == "toml":
        from backlog_store.policy.tomltree import read_toml

        return read_toml(text)
    return read_yaml(text)


def _policy(root: Table, typist: Typist) -> Policy:
    """
    Return the policy of those sections that are sound so far; the faults of the others are noted.
    """
    sections: dict[str, Any] = {}
    for name, (mark, node) in root.entries.items():
        typist.key_marks[f"/{name}"] = mark
        cls = SECTIONS.get(name)
        if cls is None:
            typist.unknown(name, mark, f"/{name}", list(SECTIONS), "section")
            continue
        plain = typist.section(node, cls, f"/{name}")
        if plain is not None:
            try:
                sections[name] = msgspec.convert(plain, cls)
            except msgspec.ValidationError as error:
                typist.findings.append(Finding(pointer=f"/{name}", reason=str(error), mark=mark))
    return Policy(lines=dict(typist.lines), **sections)


def _checked(policy: Policy, name: str) -> Iterator[Finding]:
    section = getattr(policy, name)
    if section is not None:
        yield from section.check(policy)


def _files_wanted(policy: Policy) -> Iterator[str]:
    for name in SECTIONS:
        wanted = getattr(getattr(policy, name), "files_wanted", None)
        if wanted is not None:
            yield from wanted()
