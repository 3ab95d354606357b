"""The doctor: is there a key, is the clock right, does the host answer; all for free."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Annotated

from cyclopts import Parameter

from .._config import DEFAULT_MAX_CONNECTIONS, Timeouts
from .._errors import InvalidRequest, KlingError, TaskNotFound
from .._exchange import Reply
from .._transport import Transport
from .._version import __version__
from ..endpoints import Text2Video
from ..providers import Provider
from ._exit import Exit, NoKey, exit_of, worst
from ._options import Options
from ._shell import Shell

_NO_TASK = "kling-doctor-asks-for-no-task"
_SKEW = 60.0
"""Seconds from which on signed tokens are refused as not yet valid, or expired."""
_KNOWN = {True: "yes", False: "no", None: "not known; learned from the first task"}


async def doctor(
    *,
    shell: Annotated[Shell, Parameter(parse=False)],
    options: Options | None = None,
) -> Exit:
    """Check the key, the clock, the host and the provider. Creates nothing, costs nothing."""

    def say(check: str, fine: bool, what: str) -> None:
        shell.show(f"{check:<10} {what}", {"check": check, "fine": fine, "says": what})

    try:
        provider, found = shell.provider()
    except NoKey as error:
        say("key", False, str(error))
        return Exit.REFUSED
    say("key", True, f"found in {' and '.join(found)}")
    transport = Transport(
        timeouts=Timeouts(total=20),
        max_connections=DEFAULT_MAX_CONNECTIONS,
        transport=shell.transport,
    )
    try:
        code = await _ask(provider, transport, say)
    finally:
        await transport.aclose()
    say("provider", True, _abilities(provider))
    return code


async def _ask(
    provider: Provider, transport: Transport, say: Callable[[str, bool, str], None]
) -> Exit:
    """Ask for a task that does not exist: the answer tells of the host, the clock and the key."""
    headers = {
        "authorization": provider.authorization(time.time()),
        "user-agent": f"kling_async/{__version__}",
    }
    try:
        reply = await transport.send(provider.query(Text2Video.path, _NO_TASK), headers)
    except KlingError as error:
        provider.scrub(error)
        say("host", False, f"{provider.base_url} does not answer: {error}")
        return exit_of(error)
    say("host", True, f"{provider.base_url} answers")
    clock_fine, clock = _clock(reply)
    say("clock", clock_fine, clock)
    code, answer = _answer(provider, reply)
    say("answer", code is Exit.FINE, answer)
    return worst([code, Exit.FINE if clock_fine else Exit.FAILED])


def _answer(provider: Provider, reply: Reply) -> tuple[Exit, str]:
    try:
        provider.read_task(reply)
    except (TaskNotFound, InvalidRequest):
        return Exit.FINE, "the key is accepted; there is no such task, as there should not be"
    except KlingError as error:
        return exit_of(error), str(error)
    return Exit.FINE, "the key is accepted"


def _clock(reply: Reply) -> tuple[bool, str]:
    try:
        there = parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
    except ValueError:
        return True, "not known; the answer has no date"
    skew = time.time() - there
    if abs(skew) < _SKEW:
        return True, f"right to {max(1, round(abs(skew)))} s"
    side = "fast" if skew > 0 else "slow"
    return False, f"{abs(skew):.0f} s {side}; set it right, or signed tokens are refused"


def _abilities(provider: Provider) -> str:
    facts = {
        "lists tasks": provider.lists,
        "finds external ids": provider.finds_external_id,
        "refuses a second create": provider.refuses_duplicate_ids,
    }
    told = "; ".join(f"{name}: {_KNOWN[value]}" for name, value in facts.items())
    return f"{provider.name}; {told}; prompts of {provider.limits.prompt} characters at most"
