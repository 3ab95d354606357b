"""Part: the file beside the target that grows until it is whole, and outlives its process.

    .kling-<digest of the name>.part   the bytes so far, locked while they grow
    .kling-<digest of the name>.note   whose bytes, and a checksum of those that are written

Only what the checksum covers is gone on with: not what a power cut or somebody else has made
of it. The note is kept until all videos of the result are there, as the proof of those that
are. A second download to the same target has a part of its own, which dies with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

from ._errors import DownloadError
from ._file_head import FileHead
from ._file_lock import lock

_PIECE = 1024 * 1024


class Part:
    """All of it blocks: call it in a thread.

    Args:
        video: Names the video, for a part to be gone on with by no other one.
    """

    def __init__(self, target: Path, video: str) -> None:
        self._target = target
        self._video = video
        self._path, self._note_path = _beside(target)
        self._is_own = False
        self.head = FileHead()
        self.received = 0
        self.is_whole = False
        self._checksum = 0
        self._is_moved = False
        target.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()
        try:
            self._note = _open(self._note_path)
            self._take_up()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> IO[bytes]:
        while True:
            file = _open(self._path)
            try:
                lock(file)
            except OSError:  # another one holds it, or the disk knows no locks
                file.close()
                self._is_own = True
                name = f".kling-{uuid4().hex}"
                self._path = self._path.with_name(f"{name}.part")
                self._note_path = self._path.with_name(f"{name}.note")
                return _open(self._path)
            if _is_there(file, self._path):
                if os.fstat(file.fileno()).st_nlink == 1:
                    return file
                # Its target is the same file: a kill came before the part was taken away.
                self._path.unlink()
            file.close()

    def _take_up(self) -> None:
        """Go on with what was left, if that is certainly of this video."""
        note = _read_note(self._note_path, self._video)
        if (
            note is not None
            and (note.is_whole or note.head.can_resume)
            and _checksum(self._file, note.size) == note.checksum
        ):
            self.head, self.received, self._checksum = note.head, note.size, note.checksum
            self.is_whole = note.is_whole or note.size == note.head.size
        self._file.seek(self.received)
        self._file.truncate()
        self._write_head()
        self._write_state()

    def begin(self, head: FileHead) -> None:
        """Begin anew, with what may be another file."""
        self._file.seek(0)
        self._file.truncate()
        self.head, self.received, self._checksum = head, 0, 0
        self._write_head()

    def add(self, data: bytes) -> None:
        """Write, and note that it is written."""
        _write(self._file, data)
        self._checksum = zlib.crc32(data, self._checksum)
        self.received += len(data)
        self._write_state()

    def finish(self, *, overwrite: bool) -> None:
        """Give the whole file its name."""
        os.fsync(self._file.fileno())
        self.is_whole = True
        self._write_state()
        if sys.platform == "win32":  # pragma: no cover  # there an open file keeps its name
            self._file.close()
        move(self._path, self._target, overwrite=overwrite)
        self._is_moved = True
        _sync_folder(self._target.parent)

    def close(self, *, discard: bool = False) -> None:
        """Leave what can be gone on with, unless told otherwise."""
        keeps = self.received > 0 and (self.is_whole or self.head.can_resume)
        self._note.close()
        if self._is_own or not (keeps or self._is_moved) or (discard and not self._is_moved):
            self._note_path.unlink(missing_ok=True)
            if not self._is_moved:
                self._path.unlink(missing_ok=True)
        self._file.close()

    def _write_head(self) -> None:
        self._note.seek(0)
        self._note.truncate()
        _write(self._note, json.dumps({"video": self._video, **asdict(self.head)}).encode() + b"\n")

    def _write_state(self) -> None:
        state = [self.received, self._checksum, self.is_whole]
        _write(self._note, json.dumps(state).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class _Note:
    head: FileHead
    size: int
    checksum: int
    is_whole: bool


def is_saved(target: Path, video: str) -> bool:
    """Whether the file is certainly this video, whole; blocks."""
    _, path = _beside(target)
    note = _read_note(path, video)
    if note is None or not note.is_whole:
        return False
    try:
        if target.is_symlink() or not target.is_file():
            return False
        with open(target, "rb") as file:
            return _checksum(file, note.size) == note.checksum and not file.read(1)
    except OSError:  # it may not be read
        return False


def forget(targets: list[Path]) -> None:
    """Take away the proof that the files are whole; blocks."""
    for target in targets:
        with suppress(OSError):
            _beside(target)[1].unlink()


def move(part: Path, target: Path, *, overwrite: bool) -> None:
    """Give a file its name; blocks."""
    if overwrite:
        os.replace(part, target)
        return
    try:
        os.link(part, target)  # unlike a rename, it never replaces what has come there meanwhile
    except FileExistsError:
        raise taken(target) from None
    except OSError:  # a disk without hard links
        if os.path.lexists(target):
            raise taken(target) from None
        os.replace(part, target)
    else:
        part.unlink()


def taken(path: Path) -> DownloadError:
    """The error of a name that is not free."""
    return DownloadError(f"{path} exists; pass overwrite=True, or name another file")


def _beside(target: Path) -> tuple[Path, Path]:
    # A digest: with anything added to it, a long name would be too long.
    name = f".kling-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}"
    return target.with_name(f"{name}.part"), target.with_name(f"{name}.note")


def _open(path: Path) -> IO[bytes]:
    # No link is followed: in a folder of many people it may lead to anything.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)


def _is_there(file: IO[bytes], path: Path) -> bool:
    """Whether the path still names the open file: its last holder may have moved it away."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


def _write(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _checksum(file: IO[bytes], size: int) -> int | None:
    """Of the first bytes; None if there are fewer."""
    checksum, left = 0, size
    file.seek(0)
    while left:
        data = file.read(min(left, _PIECE))
        if not data:
            return None
        checksum, left = zlib.crc32(data, checksum), left - len(data)
    return checksum


def _read_note(path: Path, video: str) -> _Note | None:
    """What the note says, if it is about this video and can be read."""
    try:
        first, *states = path.read_bytes().split(b"\n")[:-1]  # the last one may be torn
        head = json.loads(first)
        if head.pop("video") != video:
            return None
        size, checksum, is_whole = json.loads(states[-1])
        return _Note(FileHead(**head), int(size), int(checksum), bool(is_whole))
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def _sync_folder(folder: Path) -> None:
    """Make a rename last; not every system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
