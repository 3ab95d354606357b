"""Server: a provider reached over a transport; paths and bodies in, task states out."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from ._config import MAX_RETRY_AFTER
from ._envelope import Held
from ._errors import (
    AuthenticationError,
    ConnectFailed,
    KlingError,
    NotServed,
    RateLimited,
    ServerError,
)
from ._exchange import Call, Reply
from ._state import TaskState, TaskStatus
from ._transport import BeforeSending, Transport
from ._version import __version__
from .providers import Provider
from .providers._base import is_expired_token

T = TypeVar("T")

_LOG = logging.getLogger("kling_async")
_PACKAGE = os.path.dirname(__file__)


class KlingWarning(UserWarning):
    """Something is sent that this version has doubts about."""


class Server:
    """Performs calls; every state and every error passes through here."""

    def __init__(self, provider: Provider, transport: Transport) -> None:
        self.provider = provider
        self._transport = transport
        self._warned: set[str] = set()
        self._words: set[str] = set()

    async def create(
        self, path: str, body: Mapping[str, Any], leaving: BeforeSending | None = None
    ) -> TaskState:
        """Send one create, once; *leaving* is awaited before its first byte leaves."""
        # No warning here: where warnings are errors, it would cost a task that is paid for.
        return await self._read(self.provider.create(path, body), self._task, leaving)

    async def ask(self, path: str, task_id: str) -> TaskState:
        """Ask for one task, by its id or, where that works, its external id."""
        return self._known(await self._read(self.provider.query(path, task_id), self._task))

    async def page(
        self, path: str, number: int, size: int, held: Held | None = None
    ) -> list[TaskState]:
        """One page of the account's tasks, of which only what is news to *held* is decoded."""
        if not self.provider.lists:
            raise NotServed("this provider serves no lists of tasks", provider=self.provider.name)
        call = self.provider.page(path, number, size)
        read = partial(self.provider.read_page, held=held)
        return [self._known(state) for state in await self._read(call, read)]

    def warn_once(self, text: str) -> None:
        """Warn, unless this client has said so before."""
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, KlingWarning, stacklevel=_callers_level())

    async def _read(
        self,
        call: Call,
        read: Callable[[Reply], T],
        leaving: BeforeSending | None = None,
    ) -> T:
        try:
            return read(await self._send(call, leaving))
        except AuthenticationError as error:
            # A refused token created nothing, so this is safe for creates too.
            if not is_expired_token(error) or not self.provider.renew():
                raise
        except (RateLimited, ServerError) as error:
            if error.retry_after is not None and error.retry_after > MAX_RETRY_AFTER:
                error.advice = (
                    f"The server asks for a pause of {error.retry_after:g} s; only"
                    f" {MAX_RETRY_AFTER:g} s are waited for you."
                )
            raise
        return read(await self._send(call, leaving))

    async def _send(self, call: Call, leaving: BeforeSending | None) -> Reply:
        headers = {
            "authorization": self.provider.authorization(time.time()),
            "user-agent": f"kling_async/{__version__}",
        }
        try:
            return await self._transport.send(call, headers, leaving)
        except KlingError as error:
            error.provider = self.provider.name
            if self.provider.scrub(error):
                error.__cause__ = None  # it quotes the key too
            if isinstance(error, ConnectFailed):
                error.advice = self.provider.unreachable
            raise

    def _task(self, reply: Reply) -> TaskState:
        return self.provider.read_task(reply)

    def _known(self, state: TaskState) -> TaskState:
        word = state.word
        if state.status is TaskStatus.UNKNOWN and word and word not in self._words:
            # Logged and not warned: where warnings are errors, it would end the wait.
            self._words.add(word)
            _LOG.warning(
                "%s says %r of a task, which this version does not know; it counts as running",
                self.provider.name,
                word,
            )
        return state


def _callers_level() -> int:
    """How far up the stack the first line outside of this package is."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # no other way
    level = 1
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level
