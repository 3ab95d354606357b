"""Complaints: an error in lines for people, in the words of the command line."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from .._errors import BatchStopped, DownloadError, KlingError, TaskError, TaskFailed

# What they advise is Python; here the commands to go on stand below them.
_PYTHONIC = (BatchStopped, DownloadError, TaskError)


def lines(error: Exception) -> list[str]:
    """What went wrong, and what to do."""
    if isinstance(error, ValidationError):
        return [_fault(fault) for fault in error.errors(include_url=False)]
    if isinstance(error, KlingError):
        return [_without_python(error)]
    return [str(error) or type(error).__name__]


def _without_python(error: KlingError) -> str:
    if not isinstance(error, _PYTHONIC) or isinstance(error, TaskFailed):
        return str(error)
    advice, error.advice = error.advice, ""
    try:
        return str(error)
    finally:
        error.advice = advice


def _fault(fault: Any) -> str:
    """One of pydantic's findings, with the option that it is about."""
    if not fault["loc"]:
        return str(fault["msg"])
    name, *rest = map(str, fault["loc"])
    within = f" ({'.'.join(rest)})" if rest else ""
    return f"--{name.replace('_', '-')}{within}: {fault['msg']}"
