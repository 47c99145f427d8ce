"""
Reports in, drafts out: one module a format, pure and streaming.

`read_report` recognises a report and yields what it holds: a `Finding` (a draft, or word that a problem is gone), a
`Refusal` (a finding that cannot be taken in, with its faults), a `Notice` (what is no finding but worth telling) or
`Looked` (who found nothing).
"""

from backlog_store.intake.formats import FORMATS, Format, read_report, recognise, recognised
from backlog_store.intake.values import Finding, Looked, Notice, Parsed, Refusal, ReportContext

__all__ = [
    "FORMATS", "Finding", "Format", "Looked", "Notice", "Parsed", "Refusal", "ReportContext", "read_report",
    "recognise", "recognised",
]  # fmt: skip
