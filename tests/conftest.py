"""Virtual time, a clean environment, and watchers for blocking calls and stray tasks."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from blockbuster import BlockBuster, BlockBusterFunction
from hypothesis import settings

from kling_async.testing import virtual_backend
from tests.tls_host import TLSHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

# A busy machine is no defect: how long an example takes decides nothing.
# In CI the examples are the same every time, so that coverage does not depend on luck.
settings.register_profile(
    "unhurried", deadline=None, derandomize=bool({"CI", "WHOLE"} & os.environ.keys())
)
settings.load_profile("unhurried")

_FAREWELL = 30
_FAILED = pytest.StashKey[bool]()
PROXIES = ("ALL_PROXY", "FTP_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """It has failed."""
    node.stash[_FAILED] = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Bound what closes a test that has failed: pytest-timeout watches it no more.

    A test that took too long still occupies its loop, and would hold up for ever what closes its
    fixtures there: each of those is ended in its turn.
    """
    if not item.stash.get(_FAILED, False):
        return (yield)

    def end(*_: object) -> None:
        pytest.fail(f"closing took more than {_FAREWELL} s")

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, _FAREWELL, _FAREWELL)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each test runs on both, on a clock of its own that starts at zero."""
    if request.node.get_closest_marker("real_time"):
        return request.param, {}
    return virtual_backend(request.param)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key or proxy of the person who runs the tests has a say in them."""
    for name in os.environ:
        if name.upper() in PROXIES or name.startswith(("COMETAPI_", "KLING")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def blocking_calls_are_errors() -> Iterator[None]:
    """Calls that block a running asyncio loop raise; the same code under trio is taken on trust."""
    # Files and locks: only where the package is on the stack, for tests may read what they like.
    watch = BlockBuster("kling_async")
    # Coverage takes a lock in the midst of any line; to fail there left it locked for ever.
    for name in [name for name in watch.functions if "Lock" in name]:
        del watch.functions[name]
    sleep = BlockBusterFunction(None, "time.sleep")
    watch.functions["time.sleep"] = sleep
    # DBOS is launched in the loop, and knows no other way to find it.
    for function in watch.functions.values():
        function.can_block_in("dbos/_dbos.py", {"_launch", "__init__"})
    watch.activate()
    yield
    watch.deactivate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A throw-away PostgreSQL server."""
    from tests.postgres import newest, running

    programs = newest()
    if programs is None:
        reason = "no PostgreSQL here: scripts/install-postgres"
        (pytest.fail if {"CI", "WHOLE"} & os.environ.keys() else pytest.skip)(reason)
    with running(programs) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Any) -> str:
    """The address of a new database in it."""
    url: str = postgres.new()
    return url


@pytest.fixture(autouse=True)
def no_stray_tasks(request: pytest.FixtureRequest) -> None:
    """Asked for before any other fixture, so that it looks when all others are closed again."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("_stray_tasks")


@pytest.fixture
async def _stray_tasks(anyio_backend_name: str) -> AsyncIterator[None]:
    yield
    if anyio_backend_name == "trio":  # its nurseries cannot lose a task
        return
    await asyncio.sleep(0)  # the loop may be about to close generators that were left half-way
    stray = asyncio.all_tasks() - {asyncio.current_task()}
    names = [
        repr(task)
        for task in stray
        # anyio's own: the call that is closing this fixture
        if getattr(task.get_coro(), "__qualname__", "") != "TestRunner._call_in_runner_task"
    ]
    assert not names, f"still running after the test: {names}"


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """For a server of this machine, by an authority that is in `authority.pem`."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "film.test").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path_factory.getbasetemp() / "authority.pem"))
    return context


@pytest.fixture
def host(
    tls: ssl.SSLContext,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[TLSHost]:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path_factory.getbasetemp() / "authority.pem"))
    with TLSHost(tls).running() as host:
        yield host
