"""
kill -9 at named points of each backend's writing, and at random instants under load: nothing acknowledged is lost.

A point is a place around an operation: a system call of a journal, a statement of SQLite, a message to PostgreSQL, a
step of failover (`points.py`). First a writer runs through and says which points it came by; then others end there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from backlog_store.testing.postgres import PostgresServer
from tests.crash.notes import Notes
from tests.crash.program import Case
from tests.crash.writers import KILLED, Counts, Writers, check
from tests.sizes import KILLS, SEEDS

BACKENDS = ("auto", "jsonl", "postgres", "sqlite")
RANDOM = KILLS * 25 // 40
#: Fewer would mean that what the points hang on has moved.
POINTS_MIN = {"auto": 60, "jsonl": 30, "postgres": 20, "sqlite": 80}
WRITES, LOAD = 12, 300
WRITERS = 2


class Places:
    """
    New empty places for stores of one backend.
    """

    def __init__(self, backend: str, folder: Path, server: PostgresServer) -> None:
        self._backend = backend
        self._folder = folder
        self._server = server
        self._count = 0

    def case(self) -> Case:
        """
        Return a case of a store that does not exist yet.
        """
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(mode=0o700)
        Notes(folder / "notes").close()
        return Case(url=self._url(folder), notes=str(folder / "notes"), writes=WRITES)

    def _url(self, folder: Path) -> str:
        if self._backend == "postgres":
            return self._server.create_database()
        place = {"auto": "place", "jsonl": "store", "sqlite": "store.db"}[self._backend]
        return f"{self._backend}://{folder}/{place}"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """
    The name of each durable backend.
    """
    name: str = request.param
    return name


@pytest.fixture
def places(backend: str, tmp_path: Path, postgres_server: PostgresServer) -> Places:
    """
    Places for its stores.
    """
    return Places(backend, tmp_path, postgres_server)


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[Writers]]:
    """
    Programs that carry out cases, at the same time.
    """
    folders = [tmp_path / f"writer-{number}" for number in range(WRITERS)]
    for folder in folders:
        folder.mkdir()
    with Writers(folders[0]) as one, Writers(folders[1]) as another:
        yield [one, another]


def reached(writer: Writers, case: Case, path: Path) -> dict[str, int]:
    """
    Return the points that a writer comes by, and how often.
    """
    case.points = str(path)
    assert writer.run(case) == 0
    found: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_a_kill_at_a_named_point_loses_nothing(
    backend: str, places: Places, writers: list[Writers], tmp_path: Path
) -> None:
    """
    Wherever a writer ends: the store opens, holds what was acknowledged, once, is whole, and takes more.
    """
    points = reached(writers[0], places.case(), tmp_path / "points")
    assert len(points) >= POINTS_MIN[backend], sorted(points)
    rng = random.Random(f"{SEEDS[0]} {backend}")
    names = sorted(points)
    rng.shuffle(names)
    counts = Counts(f"kill -9 at {len(points)} points, {backend}")
    for number in range(KILLS):
        case = places.case()
        # Half of them go round all points; many of these lie in the making of the store, so half go where it is busy.
        by_time = rng.choices(names, [points[name] for name in names])[0]
        case.point = by_time if number % 2 else names[number // 2 % len(names)]
        case.nth = rng.randint(1, points[case.point])
        # A point that comes up less often in this run than in the first one lets its writer come to its end.
        assert writers[0].run(case) in {KILLED, 0}
        check(case, counts, of=f"{case.point}, time {case.nth}")
    counts.finish()
    assert counts.acknowledged  # a writer that ends while it makes its store has none


def test_a_kill_at_a_random_instant_under_load_loses_nothing(
    backend: str, places: Places, writers: list[Writers]
) -> None:
    """
    Two writers at once on one store, ended one after the other after random numbers of acknowledgements.
    """
    rng = random.Random(f"{SEEDS[0]} {backend} random")
    counts = Counts(f"kill -9 at random, {backend}")
    killed = 0
    for _ in range(RANDOM):
        case = places.case()
        for number, writer in enumerate(writers):
            writer.start(Case(url=case.url, notes=case.notes, first=1 + number * LOAD, writes=LOAD, speaks=True))
        for writer in rng.sample(writers, len(writers)):
            for _ in range(rng.randint(0, 10)):
                writer.line("ack")
            for _ in range(rng.randint(0, 20_000)):
                pass  # some way into the next write
            writer.kill()
        ends = [writer.end() for writer in writers]
        # One that was let in again and again, while the other waited, may have come to its end.
        assert set(ends) <= {KILLED, 0}
        killed += ends.count(KILLED)
        check(case, counts, of="a random instant")
    counts.finish()
    assert counts.acknowledged
    assert killed > counts.cases
