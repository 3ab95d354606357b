"""One account on many machines: whatever dies, nothing is paid for twice and nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import anyio.to_thread
import pytest
from sqlalchemy.exc import OperationalError

from kling_async import RequestChanged, TaskError, TaskFailed, Text2Video
from kling_async.emulator import Emulator, Fault
from kling_async.engines.dbos import JobStatus, KlingDBOS
from tests.fleet import Fleet, fleet, seconds, until
from tests.postgres import Postgres, dump

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(180)]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """DBOS knows asyncio alone."""
    return request.param


@pytest.fixture
def emulator() -> Emulator:
    """The worst of servers: it takes a second task of the same id, and bills it."""
    emulator = Emulator(strict_ids=False, duration=seconds(0.5, 1.5), seed=7)
    # The task is there at once, and the answer comes later: a good moment to die in.
    emulator.faults.add(Fault.STALL, on="create", times=10_000, seconds=0.3)
    return emulator


@pytest.fixture
async def ships(postgres_url: str, emulator: Emulator, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(postgres_url, tmp_path, emulator) as ships:
        yield ships


async def test_worker_that_is_killed_is_taken_over(ships: Fleet) -> None:
    await ships.submit(100)
    first, _ = await ships.worker(), await ships.worker()
    await ships.done(30)
    await first.kill()

    await ships.done(100)

    assert (ships.paid, ships.paid_twice) == (100, {})
    assert ships.peak <= 20


async def test_without_look_ups_a_take_over_pays_twice(ships: Fleet) -> None:
    """What the test above is worth: it fails where the protocol does."""
    await ships.submit(20)
    first = await ships.worker(without_look_ups=True)
    await until(lambda: ships.paid > 0)  # and the answer is on its way
    await first.kill()
    await ships.worker(without_look_ups=True)

    await ships.done(20)

    assert ships.paid_twice


async def test_worker_that_leaves_hands_over(ships: Fleet) -> None:
    await ships.submit(60)
    first, _ = await ships.worker(), await ships.worker()
    await ships.done(10)
    await first.leave()

    await ships.done(60)

    assert (ships.paid, ships.paid_twice) == (60, {})
    assert "has died" not in ships.said


async def test_frozen_worker_is_taken_over_and_thaws(ships: Fleet) -> None:
    await ships.submit(60)
    first, second = await ships.worker(), await ships.worker()
    await ships.done(10)
    first.process.send_signal(signal.SIGSTOP)
    await second.has_said("has died")
    await ships.done(60)
    first.process.send_signal(signal.SIGCONT)

    await ships.submit(70)  # it goes on with what is new
    await ships.done(70)

    assert (ships.paid, ships.paid_twice) == (70, {})


async def test_worker_that_hangs_is_taken_over(ships: Fleet) -> None:
    await ships.submit(40)
    await ships.worker(hangs_at="Boat 7")
    second = await ships.worker()

    await ships.done(40)

    assert "has died" in second.said
    assert (ships.paid, ships.paid_twice) == (40, {})


async def test_database_that_crashes_is_waited_for(ships: Fleet, postgres: Postgres) -> None:
    await ships.submit(60)
    workers = [await ships.worker(), await ships.worker()]
    await ships.done(10)
    await anyio.to_thread.run_sync(lambda: postgres.stop(immediate=True))
    for worker in workers:
        await worker.has_said("does not hear")
    await anyio.to_thread.run_sync(postgres.start)

    await ships.done(60)

    results = [await ships.desk.job(f"boat-{number}").result() for number in range(60)]
    assert len({result.task_id for result in results}) == 60
    assert (ships.paid, ships.paid_twice) == (60, {})


async def test_recovery_gives_up_what_it_began_before_an_outage(
    ships: Fleet, postgres: Postgres
) -> None:
    """Carried out after it, a resume would take jobs from whoever has them by then."""
    async with ships.desk._database_that_fails() as database:
        await database.list_workflows_async()
        await anyio.to_thread.run_sync(lambda: postgres.stop(immediate=True))
        try:
            with anyio.fail_after(20), pytest.raises(OperationalError):
                await database.resume_workflows_async(["boat-0"])
        finally:
            await anyio.to_thread.run_sync(postgres.start)


@pytest.mark.parametrize("queue", ["main", "files"])
async def test_jobs_that_a_worker_has_not_heard_of_go_on(ships: Fleet, queue: str) -> None:
    """The database has given them to it, and the connection broke before it could say so."""
    await ships.submit(10)
    worker = await ships.worker(does_not_hear=queue, sweep=1.0)

    await ships.done(10)

    assert "nobody heard of it" in worker.said
    assert "given to this worker unheard" in worker.said
    assert (ships.paid, ships.paid_twice) == (10, {})


async def test_connections_that_break_at_any_moment_cost_nothing(ships: Fleet) -> None:
    """Whether jobs go unheard here too is a matter of luck; the test above sees to that."""
    await ships.submit(60)
    for _ in range(2):
        await ships.worker(sweep=1.0)
    await ships.done_while_cut_off(60, Random(7))

    for number in range(60):
        assert await ships.ended(number) is None
    assert ships.cut > 100
    assert (ships.paid, ships.paid_twice) == (60, {})


async def test_job_that_ends_its_workers_is_given_up(ships: Fleet) -> None:
    [job] = await ships.submit(1)
    options: dict[str, Any] = {"dies_of": "Boat 0", "fleet": {"take_overs": 2}}
    dead = [await ships.worker(**options) for _ in range(3)]
    for worker in dead:
        await worker.process.wait()
    await ships.worker(**options)

    with pytest.raises(TaskError, match="job boat-0 was given up after it had lost 3 workers"):
        await job.result()

    assert (await job.state()).status is JobStatus.FAILED
    assert ships.paid == 0


async def test_job_that_ends_its_workers_takes_none_with_it(
    ships: Fleet, emulator: Emulator
) -> None:
    emulator.faults.clear()
    emulator.faults.add(Fault.STUCK, on="create", times=5)
    await ships.submit(5)
    options: dict[str, Any] = {"dies_of": "Boat 5", "fleet": {"take_overs": 1}}
    first = await ships.worker(**options)
    await ships.journaled(5, "submit")
    *_, poison = await ships.submit(6)
    await first.process.wait()
    second = await ships.worker(**options)
    await second.process.wait()
    await ships.worker(**options)

    with pytest.raises(TaskError, match="given up after it had lost 2 workers"):
        await poison.result()

    for task_id in emulator.tasks:
        emulator.tasks[task_id].succeed()
    await ships.done(5)
    assert (ships.paid, ships.paid_twice) == (5, {})


async def test_two_versions_side_by_side(ships: Fleet) -> None:
    await ships.submit(60)
    old = {"version": "old"}
    first, second = await ships.worker(fleet=old), await ships.worker(fleet=old)
    await ships.done(10)
    await first.kill()
    await ships.worker(fleet={"version": "new"})  # from now on it gets what is new

    await ships.done(60)

    assert "has died" in second.said
    assert (ships.paid, ships.paid_twice) == (60, {})
    assert ships.peak <= 20


async def test_jobs_of_a_version_that_is_gone_wait_for_it(ships: Fleet, emulator: Emulator) -> None:
    emulator.faults.clear()
    emulator.faults.add(Fault.STUCK, on="create", times=10)
    await ships.submit(10)
    old = {"version": "old"}
    first = await ships.worker(fleet=old)
    await first.has_said("submitted")
    newer = await ships.worker(fleet={"version": "new"})
    await first.kill()
    await newer.has_said("a worker of application version old has died")
    await ships.worker(fleet=old)
    await until(lambda: len(emulator.tasks) == 10)
    for task_id in emulator.tasks:
        emulator.tasks[task_id].succeed()

    await ships.done(10)

    assert (ships.paid, ships.paid_twice) == (10, {})


async def test_key_is_the_same_job_in_every_process(ships: Fleet) -> None:
    await ships.submit(2)
    other = KlingDBOS(ships.url, beat=0.1)
    async with other.open():
        await ships.worker()
        again = await other.submit(
            Text2Video(prompt="Boat 0"), key="boat-0", to=ships.folder / "0.mp4"
        )
        with pytest.raises(RequestChanged, match="prompt: 'Boat 1' before, 'A raft' now"):
            await other.submit(Text2Video(prompt="A raft"), key="boat-1", to=ships.folder / "1.mp4")
        result = await again.result()
        assert result == await ships.desk.job("boat-0").result()
        assert await again.files() == [ships.folder / "0.mp4"]
        await other.job("boat-1").result()

    assert ships.paid == 2


async def test_database_holds_json_and_no_secret(ships: Fleet, emulator: Emulator) -> None:
    emulator.faults.clear()
    emulator.faults.add(Fault.CONTENT, on="create", after=1)
    await ships.submit(3)
    called = {"callback_url": f"{ships.origin}/nobody/secret-path-0123", "patience": 1.0}
    await ships.worker(fleet=called)
    ends = [await ships.ended(number) for number in range(3)]
    content = await anyio.to_thread.run_sync(dump, ships.url)

    assert sum(end is None for end in ends) == 2
    assert "Boat 1" in content
    assert "portable_json" in content
    for secret in ("a-secret-key-0123456789", "secret-path-0123", "py_pickle"):
        assert secret not in content


async def test_failure_reads_the_same_everywhere(ships: Fleet, emulator: Emulator) -> None:
    [job] = await ships.submit(1)
    await ships.worker()
    await until(lambda: len(emulator.tasks) == 1)
    (task_id,) = emulator.tasks
    emulator.tasks[task_id].fail("the boat sank")

    with pytest.raises(TaskFailed, match="the boat sank") as caught:
        await job.result()

    assert caught.value.token is not None
    assert task_id in caught.value.token
    assert caught.value.external_task_id == "boat-0"
    [state] = await ships.desk.states()
    assert str(state.error) == str(caught.value)


async def test_starts_are_limited_over_all_workers(ships: Fleet, emulator: Emulator) -> None:
    starts = {"starts": (5, 1.0)}
    await ships.submit(20)
    await ships.worker(fleet=starts)
    await ships.worker(fleet=starts)

    await ships.done(20)

    times = sorted(emulator.tasks[task_id].created for task_id in emulator.tasks)
    most = max(sum(start <= time < start + 1 for time in times) for start in times)
    assert most <= 10  # twice as many where two spans meet
