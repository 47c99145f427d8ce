"""
What the system tests share.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.disks import Disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """
    A disk of 2 MiB.
    """
    disk = Disk(tmp_path / "disk", size_kib=2048)
    yield disk
    disk.unmount()
