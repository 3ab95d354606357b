"""The pytest plugin serves suites of anyio's plugin, of pytest-asyncio, and of neither."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from kling_async import TaskFailed, testing
from kling_async.emulator import Emulator, Fault, Strike
from kling_async.testing._stage import DIALECTS, Stage

# Each runs another pytest, which on a busy machine takes its time.
pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

SUITE = """
import time

import anyio
import pytest

from kling_async import ConfigurationError, Kling, TaskFailed
from kling_async.emulator import Emulator, Fault, Strike

USED = []


async def test_video_in_virtual_time(kling, kling_emulator, virtual_time):
    video = await kling.text2video.run(prompt="A paper boat")

    assert video.url.startswith("https://")
    assert len(kling_emulator.ledger) == 1
    assert virtual_time.elapsed > 30
    USED.append(kling)


async def test_video_in_real_time(kling, kling_emulator):
    began = time.monotonic()
    await kling.text2video.run(prompt="A paper boat")

    assert time.monotonic() - began < 10
    assert len(kling_emulator.ledger) == 1
    USED.append(kling)


async def test_clients_were_closed():
    assert USED
    for kling in USED:
        with pytest.raises(ConfigurationError, match="closed"):
            await kling.text2video.get("7")
    USED.clear()  # the next ones belong to another loop


@pytest.mark.kling(dialect="official", duration=600, faults=[Fault.FAIL])
class TestMarked:
    async def test_fails(self, kling, virtual_time):
        with pytest.raises(TaskFailed):
            await kling.text2video.run(prompt="A paper boat")

        assert kling.provider.name == "klingai"
        assert virtual_time.elapsed >= 600

    @pytest.mark.kling(faults=[Strike(Fault.RATE, on="create", times=2)])
    async def test_closer_marker_counts(self, kling, kling_emulator, virtual_time):
        await kling.text2video.run(prompt="A paper boat")

        assert [fault for fault, _ in kling_emulator.faults.struck] == [Fault.RATE] * 2
        assert virtual_time.elapsed >= 600


@pytest.mark.parametrize("again", [1, 2])
@pytest.mark.kling(faults=[Strike(Fault.LOST_ANSWER, on="create")], dialect="official")
async def test_marker_serves_many_tests(again, kling, kling_emulator, virtual_time):
    await kling.text2video.run(prompt="A paper boat")

    assert kling_emulator.faults.struck
    assert len(kling_emulator.ledger) == 1


@pytest.mark.parametrize("again", [1, 2])
async def test_time_is_real_again(again):
    began = time.monotonic()
    await anyio.sleep(0.05)

    assert time.monotonic() - began > 0.04
"""
TESTS = 9
ANYIO = ("-p", "no:asyncio", "--anyio-mode=auto")
ASYNCIO = ("--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
NEITHER = ("-p", "no:asyncio", "-p", "no:anyio")


@pytest.fixture
def users(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's own suite, which sees nothing of ours."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nfilterwarnings = error\nstrict = true")
    return pytester


def run(users: pytest.Pytester, *options: str) -> pytest.RunResult:
    return users.runpytest_subprocess(
        "-p", "no:randomly", "-p", "no:xdist", "-p", "no:hypothesispytest", *options
    )


def test_suite_of_anyios_plugin(users: pytest.Pytester) -> None:
    users.makepyfile(SUITE)

    result = run(users, *ANYIO)

    result.assert_outcomes(passed=TESTS * 2)  # asyncio and trio


def test_suite_of_pytest_asyncio(users: pytest.Pytester) -> None:
    users.makepyfile(SUITE)

    run(users, *ASYNCIO).assert_outcomes(passed=TESTS)


def test_suite_of_pytest_asyncio_on_one_loop_with_marks(users: pytest.Pytester) -> None:
    users.makepyfile(SUITE + "\npytestmark = pytest.mark.asyncio(loop_scope='module')\n")

    run(users, *ASYNCIO, "--asyncio-mode=strict", "-p", "no:anyio").assert_outcomes(passed=TESTS)


def test_suite_wholly_in_virtual_time(users: pytest.Pytester) -> None:
    users.makeconftest("""
        import pytest

        from kling_async.testing import virtual_backend

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return virtual_backend(request.param)
    """)
    users.makepyfile("""
        import anyio
        import pytest

        @pytest.fixture
        async def video(kling):
            yield await kling.text2video.run(prompt="A paper boat")

        async def test_fixtures_share_the_time(video, kling_emulator):
            assert kling_emulator.clock.speed == 1
            assert anyio.current_time() > 30

        async def test_time_starts_at_zero(virtual_time):
            assert anyio.current_time() == 0
    """)

    run(users, *ANYIO).assert_outcomes(passed=4)


def test_users_fixtures_come_first(users: pytest.Pytester) -> None:
    users.makeconftest("""
        import pytest

        from kling_async import Kling, KlingAI
        from kling_async.emulator import Emulator

        @pytest.fixture
        def kling_emulator():
            return Emulator(speed=7, duration=1, keys=["my-key"])
    """)
    users.makepyfile("""
        import pytest

        from kling_async import Kling

        @pytest.mark.kling(keys=["my-key"])
        async def test_own_emulator(kling, kling_emulator, virtual_time):
            assert kling_emulator.clock.speed == 7
            await kling.text2video.run(prompt="A paper boat")

        class TestOwnClient:
            @pytest.fixture
            def kling(self):
                return "mine"

            async def test_is_left_alone(self, kling):
                assert kling == "mine"
    """)

    run(users, *ASYNCIO).assert_outcomes(passed=2)


def test_client_is_closed_when_a_test_fails(users: pytest.Pytester) -> None:
    users.makepyfile("""
        import asyncio

        async def test_fails(kling):
            await kling.text2video.submit(prompt="A paper boat")
            assert False

        async def test_nothing_is_left():
            assert asyncio.all_tasks() == {asyncio.current_task()}
    """)

    run(users, *ASYNCIO).assert_outcomes(passed=1, failed=1)


def test_mistakes_are_told(users: pytest.Pytester) -> None:
    users.makepyfile("""
        import pytest

        def test_no_coroutine(kling): pass

        def test_no_coroutine_either(virtual_time): pass

        @pytest.mark.kling(dialect="klingon")
        async def test_dialect(kling): pass

        @pytest.mark.kling(60)
        async def test_positional(kling): pass

        @pytest.mark.kling(sped=60)
        async def test_misspelt(kling): pass
    """)

    result = run(users, *ASYNCIO)

    result.assert_outcomes(errors=5)
    result.stdout.fnmatch_lines(
        [
            "the fixture kling begins and ends with a test*Elsewhere: Kling(*",
            "the fixture virtual_time begins and ends with a test*Elsewhere: with *",
            "*'klingon': give cometapi, official, newapi, *",
            "*takes keywords only*",
            "*unexpected keyword argument 'sped'*",
        ]
    )


def test_strangers_suites_are_left_alone(users: pytest.Pytester) -> None:
    users.makeconftest("""
        import sys

        for name in ("starlette", "uvicorn", "trio", "respx", "httpx", "pydantic"):
            assert name not in sys.modules, name
            sys.modules[name] = None
    """)
    users.makepyfile("""
        import asyncio, sys

        def test_plain():
            assert "kling_async.testing.pytest_plugin" in sys.modules
            ours = {name for name in sys.modules if name.startswith("kling_async.")}
            assert ours == {
                "kling_async._version",
                "kling_async.testing",
                "kling_async.testing.pytest_plugin",
            }

        async def test_coroutine():
            await asyncio.sleep(0)
    """)
    quiet = ("-p", "no:anyio", "-p", "no:respx")

    run(users, *ASYNCIO, *quiet).assert_outcomes(passed=2)


def test_plugin_without_the_emulators_packages_says_what_to_install(users: pytest.Pytester) -> None:
    users.makeconftest("import sys\nsys.modules['starlette'] = None")
    users.makepyfile("def test_one(kling_emulator): pass")

    result = run(users, *NEITHER)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['*pip install "kling_async?emulator?"*'])


def test_the_plugin_loads_little() -> None:
    code = """if True:
        import sys
        import pytest
        before = set(sys.modules)
        import kling_async.testing.pytest_plugin
        print(*sorted(set(sys.modules) - before))
    """

    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert [name for name in loaded.stdout.split() if name.startswith("kling_async")] == [
        "kling_async",
        "kling_async._version",
        "kling_async.testing",
        "kling_async.testing.pytest_plugin",
    ]
    assert len(loaded.stdout.split()) < 10


def test_door_offers_its_names_before_they_are_loaded() -> None:
    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match="mock_klang"):
        getattr(testing, "mock_klang")  # noqa: B009  # checkers know better


# The same fixtures, in a suite that is wholly in virtual time: this one.


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_client_speaks_the_dialect(dialect: str) -> None:
    wanted: dict[str, Any] = {"model_name": "kling-v1-6", "mode": "std", "duration": 5}
    if dialect == "passthrough":
        wanted["multi_shot"] = False
    stage = Stage(dialect, [Strike(Fault.FAIL, on="create", message="No boats")])
    emulator = stage.emulator(virtual=True)
    async with stage.client(emulator) as kling:
        with pytest.raises(TaskFailed, match="No boats"):
            await kling.text2video.run(prompt="A paper boat", **wanted)

    assert len(emulator.ledger) == 1


async def test_fixtures_serve_this_suite_too(kling_emulator: Emulator) -> None:
    assert kling_emulator.clock.speed == 1
