"""Who lives is shown by a lock in PostgreSQL, and by nothing that a dead process could keep up."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from kling_async.engines._presence import Session, presence
from tests.postgres import Postgres

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(60)]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """DBOS knows asyncio alone."""
    return request.param


def session(url: str, executor: str, *, silence: float = 10.0, room: str = "main") -> Session:
    return Session(url, room, executor, silence=silence, grace=1.0)


async def test_the_living_see_each_other_and_a_crash_at_once(postgres_url: str) -> None:
    first, second = session(postgres_url, "first"), session(postgres_url, "second")
    stranger = session(postgres_url, "first", room="other")
    assert (first.since, first.lives("first")) == (inf, False)
    assert await stranger.beat()
    assert await second.beat()
    assert not second.lives("first")  # the one of another account is none of ours
    assert await first.beat()
    assert await second.beat()
    assert second.lives("first")
    assert second.lives("second")
    assert second.since < anyio.current_time() + 1.1

    await first.aclose()
    while second.lives("first"):
        assert await second.beat()

    assert second.losses == 1
    await second.aclose()
    await stranger.aclose()


async def test_silent_worker_is_dead(postgres_url: str) -> None:
    silent, other = session(postgres_url, "silent", silence=0.3), session(postgres_url, "other")
    assert await silent.beat()
    assert await other.beat()
    assert other.lives("silent")
    while True:
        assert await other.beat()
        if not other.lives("silent"):
            break
        await anyio.sleep(0.05)

    assert not await silent.beat()  # it learns of it
    assert silent.since == inf
    assert await silent.beat()  # and is there again
    assert await other.beat()
    assert other.lives("silent")
    await silent.aclose()
    await other.aclose()


async def test_one_buries_at_a_time(postgres_url: str) -> None:
    first, second = session(postgres_url, "first"), session(postgres_url, "second")
    assert not await first.bury("dead")  # who shows no life of his own buries nobody
    assert await first.beat()
    assert await second.beat()
    assert await first.bury("dead")
    assert not await second.bury("dead")
    assert not second.lives("dead")
    await first.buried("dead")
    assert await second.bury("dead")
    await first.aclose()
    await second.aclose()


async def test_database_that_is_away_hears_nobody(postgres: Postgres, postgres_url: str) -> None:
    async with presence(postgres_url, "main", "first", silence=5.0, grace=1.0) as shown:
        assert await shown.beat()
        await anyio.to_thread.run_sync(lambda: postgres.stop(immediate=True))
        assert not await shown.beat()
        assert not await shown.beat()
        await anyio.to_thread.run_sync(postgres.start)
        assert await shown.beat()
        assert shown.lives("first")


async def test_process_on_sqlite_is_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    async with presence(url, "main", "first", silence=5.0, grace=1.0) as shown:
        assert await shown.beat()
        assert shown.lives("first")
        assert not shown.lives("second")
        assert await shown.bury("second")
        await shown.buried("second")
        assert shown.since == -inf
