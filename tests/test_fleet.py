"""A fleet on SQLite, which is for one process: what needs no server and no second machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import kling_async._steps as steps
from kling_async import (
    BalanceExhausted,
    ConfigurationError,
    ContentRejected,
    Image2Video,
    Kling,
    KlingError,
    MediaError,
    RequestRefused,
    SubmissionUnknown,
    Text2Video,
)
from kling_async._handles import ENDPOINTS
from kling_async.emulator import Emulator, Fault
from kling_async.engines._presence import Alone
from kling_async.engines.dbos import JobStatus, KlingDBOS
from tests.fleet import until
from tests.lone_fleet import anyio_backend as anyio_backend
from tests.lone_fleet import emulator as emulator
from tests.lone_fleet import make as make
from tests.media_samples import png

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(60)]
BOAT = Text2Video(prompt="A paper boat")


@pytest.fixture
async def fleet(make: Callable[..., KlingDBOS]) -> AsyncIterator[KlingDBOS]:
    async with make().open() as fleet:
        yield fleet


async def test_job_is_done_and_saved(fleet: KlingDBOS, tmp_path: Path) -> None:
    saved = await fleet.submit(BOAT, key="boat-1", to=f"{tmp_path}/videos/")
    unsaved = await fleet.submit(BOAT, key="boat-2")
    assert (await saved.state()).status is JobStatus.QUEUED
    async with fleet.worker():
        result = await saved.result()
        assert await unsaved.files() == []

    [path] = await saved.files()
    assert path == tmp_path / "videos" / f"{result.task_id}-0.mp4"
    assert path.stat().st_size > 1000
    newest, oldest = await fleet.states(prefix="boat-")
    assert (newest.key, newest.status, newest.files) == ("boat-2", JobStatus.SUCCEEDED, ())
    assert (oldest.key, oldest.files, oldest.result) == ("boat-1", (path,), result)
    assert oldest.request == BOAT.named("boat-1")
    assert repr(saved) == "Job('boat-1')"
    assert repr(fleet) == "KlingDBOS(account='main')"


async def test_same_key_is_the_same_job(make: Callable[..., KlingDBOS], emulator: Emulator) -> None:
    fleet = make()
    async with fleet.worker():
        first = await fleet.submit(BOAT, key="boat-1")
        await first.result()
        again = await fleet.submit(BOAT, key="boat-1")

        assert await again.result() == await fleet.job("boat-1").result()
    assert len(emulator.ledger) == 1


async def test_job_of_a_request_that_is_not_known_here_is_listed(
    fleet: KlingDBOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.submit(BOAT, key="boat-1")
    await fleet.submit(Image2Video(image="https://desk.example/cat.png"), key="boat-2")
    monkeypatch.delitem(ENDPOINTS, "text2video")

    newest, oldest = await fleet.states(prefix="boat-")

    assert newest.request is not None
    assert (oldest.key, oldest.status, oldest.request) == ("boat-1", JobStatus.QUEUED, None)


async def test_relative_paths_mean_the_folder_of_whoever_submits(
    fleet: KlingDBOS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cat.png").write_bytes(png(300, 300))
    job = await fleet.submit(Image2Video(image=Path("cat.png")), key="cat", to="cat.mp4")
    monkeypatch.chdir("/")
    async with fleet.worker():
        assert await job.files() == [tmp_path / "cat.mp4"]


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (BOAT.named("raft"), RequestRefused, "The key is the external_task_id"),
        (Image2Video(image=png(300, 300)), MediaError, "every worker can read"),
    ],
)
async def test_what_cannot_be_stored_is_refused(
    fleet: KlingDBOS, request_: Any, kind: type[KlingError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        await fleet.submit(request_, key="boat-1")


async def test_key_must_fit_into_an_address(fleet: KlingDBOS) -> None:
    with pytest.raises(ValueError, match="no slash"):
        await fleet.submit(BOAT, key="order/17")


async def test_fleet_must_be_open(make: Callable[..., KlingDBOS]) -> None:
    with pytest.raises(RuntimeError, match=r"async with fleet\.open"):
        await make().submit(BOAT, key="boat-1")


async def test_defect_ends_the_job_and_is_named(
    fleet: KlingDBOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(parcel: object) -> None:
        raise ValueError("no such field")

    monkeypatch.setattr("kling_async.engines._crew.unpack", broken)
    job = await fleet.submit(BOAT, key="boat-1")
    async with fleet.worker():
        with pytest.raises(KlingError, match="broke off: ValueError: no such field"):
            await job.result()


async def test_unknown_key_is_no_job(fleet: KlingDBOS) -> None:
    with pytest.raises(LookupError, match="there is no job 'raft'"):
        await fleet.job("raft").state()
    with pytest.raises(LookupError):
        await fleet.job("raft").result()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"account": ""}, "a name without a colon"),
        ({"account": "a:b"}, "a name without a colon"),
        ({"beat": 1.0, "silence": 3.0}, "4 beats or more, which are 4 s"),
    ],
)
async def test_options_that_cannot_work_are_refused(
    make: Callable[..., KlingDBOS], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make(**options)


async def test_one_worker_a_process(make: Callable[..., KlingDBOS]) -> None:
    async with make().worker():
        with pytest.raises(ConfigurationError, match="account 'main' has a worker"):
            async with make(account="other").worker():
                pass


async def test_worker_that_cannot_show_its_life_does_not_begin(
    make: Callable[..., KlingDBOS], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unheard(alone: Alone) -> bool:
        return False

    monkeypatch.setattr(Alone, "beat", unheard)
    with pytest.raises(ConfigurationError, match="not a pooler's"):
        async with make().worker():
            pass


async def test_accounts_have_queues_of_their_own(
    make: Callable[..., KlingDBOS], emulator: Emulator
) -> None:
    mine, theirs = make(), make(account="other")
    async with mine.open(), theirs.open():
        jobs = [await each.submit(BOAT, key="boat-1") for each in (mine, theirs)]
        async with mine.worker():
            await jobs[0].result()
        assert (await jobs[1].state()).status is JobStatus.QUEUED

    assert len(emulator.ledger) == 1


async def test_job_goes_on_in_the_next_worker(
    make: Callable[..., KlingDBOS], emulator: Emulator
) -> None:
    emulator.faults.add(Fault.STUCK, on="create")
    fleet = make()
    async with fleet.open():
        job = await fleet.submit(BOAT, key="boat-1")
        async with fleet.worker():
            await until(lambda: len(emulator.ledger) == 1)
        (task_id,) = emulator.tasks
        emulator.tasks[task_id].succeed()
        async with fleet.worker():
            await job.result()

    assert len(emulator.ledger) == 1


async def test_refusal_ends_the_job(fleet: KlingDBOS, emulator: Emulator) -> None:
    emulator.faults.add(Fault.CONTENT, on="create")
    job = await fleet.submit(BOAT, key="boat-1")
    async with fleet.worker():
        with pytest.raises(ContentRejected):
            await job.result()
    state = await job.state()

    assert state.status is JobStatus.FAILED
    assert isinstance(state.error, ContentRejected)


async def test_threads_work_after_the_worker(fleet: KlingDBOS) -> None:
    async with fleet.worker():
        pass
    await fleet.submit(BOAT, key="boat-1")

    assert [state.key for state in await fleet.states()] == ["boat-1"]


async def test_lost_create_that_cannot_be_found_ends_in_doubt(
    fleet: KlingDBOS, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_async.engines._workflows._LOOKS", (0.0, 0.0))
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    emulator.faults.add(Fault.SERVER_ERROR, on="query", times=99, after=1)
    job = await fleet.submit(BOAT, key="boat-1")
    async with fleet.worker():
        with pytest.raises(SubmissionUnknown) as caught:
            await job.result()

    assert caught.value.external_task_id == "boat-1"


async def test_lost_create_is_looked_for_again(
    fleet: KlingDBOS, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_async.engines._workflows._LOOKS", (0.0, 0.0))
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    emulator.faults.add(Fault.SERVER_ERROR, on="query", times=2, after=1)
    job = await fleet.submit(BOAT, key="boat-1")
    async with fleet.worker():
        await job.result()

    assert len(emulator.ledger) == 1


async def test_ended_jobs_are_deleted(make: Callable[..., KlingDBOS]) -> None:
    fleet = make(keep=0.0)
    async with fleet.open():
        job = await fleet.submit(BOAT, key="boat-1")
        async with make(keep=None).worker():
            await job.result()
        async with fleet.worker():
            while True:
                if not await fleet.states():
                    break
                await anyio.sleep(0.05)
        with pytest.raises(LookupError):
            await job.state()


async def test_account_that_is_put_right_goes_on(
    fleet: KlingDBOS, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_async.engines._workflows._LONGEST_PAUSE", 0.01)
    emulator.faults.add(Fault.ARREARS, on="create", times=2)
    job = await fleet.submit(BOAT, key="boat-1")
    async with fleet.worker():
        await job.result()

    assert len(emulator.ledger) == 1


async def test_account_that_is_not_put_right_ends_the_job(
    fleet: KlingDBOS, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_async.engines._workflows._LONGEST_PAUSE", 0.01)
    monkeypatch.setattr("kling_async.engines._workflows._TRIES", 1)
    emulator.faults.add(Fault.ARREARS, on="create", times=99)
    job = await fleet.submit(BOAT, key="boat-1")
    async with fleet.worker():
        with pytest.raises(BalanceExhausted):
            await job.result()


async def test_intent_that_expired_is_made_anew(
    fleet: KlingDBOS, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lasts = steps.intend, iter([0.0, 30.0, 30.0])

    async def intend(kling: Kling) -> dict[str, Any]:
        monkeypatch.setattr(steps, "INTENT_LASTS", next(lasts))
        return await real(kling)

    monkeypatch.setattr("kling_async.engines._crew.intend", intend)
    job = await fleet.submit(BOAT, key="boat-1")
    async with fleet.worker():
        await job.result()

    assert len(emulator.ledger) == 1
