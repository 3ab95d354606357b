"""A lock beside a file, which the kernel opens again however its holder ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ._errors import JournalError


@contextmanager
def held(path: Path) -> Generator[None, None, None]:
    """Keep other writers of *path* out."""
    # Never deleted: others might hold the lock of the deleted file and of its successor.
    with open(path.with_name(f"{path.name}.lock"), "a+b") as file:
        try:
            lock(file)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read().decode() or "(not told)"
            mine = " (this one)" if holder == str(os.getpid()) else ""
            raise JournalError(
                f"{path} is held by process {holder}{mine}",
                advice="Wait until that one has ended, or use another journal.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield


def lock(file: IO[bytes]) -> None:
    """Lock an open file; raise OSError where another one holds it."""
    if sys.platform == "win32":  # pragma: no cover  # the tests run on POSIX
        import msvcrt

        file.seek(1 << 30)  # what is locked cannot be read, and others shall read the beginning
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
