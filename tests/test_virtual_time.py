"""Time is virtual in the tests, and neither blocking calls nor stray tasks pass unseen."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import current_time, fail_after, sleep, to_thread
from blockbuster import BlockingError

import kling_async

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_clock_starts_at_zero() -> None:
    assert current_time() == 0


async def test_an_hour_passes_at_once() -> None:
    started = time.perf_counter()

    await sleep(3600)

    assert current_time() == pytest.approx(3600)
    assert time.perf_counter() - started < 1


async def test_sleepers_wake_in_order() -> None:
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await sleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as tasks:
        for number in range(1000):
            tasks.start_soon(sleeper, number * 617 % 1000)

    assert woken == sorted(woken)
    assert current_time() == pytest.approx(999)


async def test_deadline_passes_before_a_longer_sleep() -> None:
    with pytest.raises(TimeoutError), fail_after(5):
        await sleep(6)

    assert current_time() == pytest.approx(5)


async def test_clock_holds_still_for_a_thread() -> None:
    with fail_after(5):
        await to_thread.run_sync(time.sleep, 0.05)

    assert current_time() == 0


async def test_clock_goes_on_after_a_thread() -> None:
    await to_thread.run_sync(time.sleep, 0.01)

    with pytest.raises(TimeoutError), fail_after(5):
        await sleep(6)

    assert current_time() == pytest.approx(5)


async def test_clock_holds_still_for_many_threads_of_many_tasks() -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(to_thread.run_sync, time.sleep, 0.01)
        tasks.start_soon(sleep, 60)
        await to_thread.run_sync(time.sleep, 0.03)
        assert current_time() == 0

    assert current_time() == pytest.approx(60)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_clock_holds_still_for_an_executor() -> None:
    async with asyncio.timeout(5):
        await asyncio.to_thread(time.sleep, 0.05)

    assert current_time() == 0


@pytest.mark.real_time
async def test_real_time_passes_where_asked_for() -> None:
    started = time.perf_counter()

    await sleep(0.01)

    assert time.perf_counter() - started >= 0.009


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_sleep_that_blocks_the_loop_is_an_error() -> None:
    with pytest.raises(BlockingError):
        time.sleep(0)  # noqa: ASYNC251  # the very thing


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_file_access_of_the_package_on_the_loop_is_an_error() -> None:
    listing = in_package("import os\ndef call(): return os.listdir('.')")

    with pytest.raises(BlockingError):
        listing()

    assert os.listdir(".")
    assert await to_thread.run_sync(listing)


def in_package(source: str) -> Callable[[], object]:
    """What the source calls `call`, as if it stood in a file of the package."""
    namespace: dict[str, Callable[[], object]] = {}
    path = Path(kling_async.__file__).with_name("_blocking.py")
    exec(compile(source, str(path), "exec"), namespace)
    return namespace["call"]


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    """A pytest run of its own with the fixtures of this one."""
    pytester.makeconftest("from tests.conftest import *\nfrom tests.conftest import _stray_tasks")
    pytester.makeini(f"[pytest]\nanyio_mode = auto\npythonpath = {Path(__file__).parent.parent}")
    return pytester


def test_task_left_running_fails_its_test(inner: pytest.Pytester) -> None:
    inner.makepyfile("""
        import asyncio, pytest

        pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)

        @pytest.fixture
        async def closes_its_task():
            task = asyncio.ensure_future(asyncio.sleep(60))
            yield
            task.cancel()
            await asyncio.wait([task])

        async def test_tidy(closes_its_task):
            pass

        async def test_leaky():
            asyncio.ensure_future(asyncio.sleep(60))
    """)

    result = inner.runpytest_subprocess()

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*still running after the test*"])


def test_keys_and_proxies_of_the_machine_are_gone(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMETAPI_KEY", "KLINGAI_API_KEY", "HTTPS_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "from the machine")
    inner.makepyfile("""
        import os

        def test_clean():
            assert "from the machine" not in os.environ.values()
    """)

    inner.runpytest_subprocess().assert_outcomes(passed=1)
