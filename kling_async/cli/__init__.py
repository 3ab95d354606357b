"""The command line, `kling`: what it needs is loaded when a command runs, and not before."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

_HELP: tuple[list[str], ...] = ([], ["--help"], ["-h"])


def main(tokens: Sequence[str] | None = None) -> int:
    """Run `kling` with the arguments of this process, or *tokens*; returns the exit code."""
    words = list(sys.argv[1:] if tokens is None else tokens)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    # Before anything else is loaded: for its help nobody should wait.
    if words in _HELP:
        from ._guide import guide
        from ._streams import say

        say(guide())
        return 0
    if words == ["--version"]:
        from .._version import __version__
        from ._streams import say

        say(f"kling_async {__version__}\n")
        return 0
    if missing := _missing():
        sys.stderr.write(f'kling: {missing} is missing: pip install "kling_async[cli]"\n')
        return 2
    try:
        from ._app import start

        return start(words)
    except KeyboardInterrupt:  # while it is loaded, or once more at the end
        return 4


def _missing() -> str | None:
    from importlib.util import find_spec

    return next((name for name in ("cyclopts", "rich") if find_spec(name) is None), None)
