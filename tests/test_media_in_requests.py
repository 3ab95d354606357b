"""Media go out as Kling wants them, and what it would refuse does not go out at all."""

from __future__ import annotations

import io
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from kling_async import Kling, KlingAI, MediaError
from kling_async.emulator import Emulator
from tests.media_samples import jpeg, png, wav

KEY = "a-secret-key-of-the-usual-length-0123456789"
PICTURE = png(300, 300)
TEXT = b64encode(PICTURE).decode()
MEGABYTE = 1024 * 1024
GIF = b"GIF89a" + bytes(500)


def official(emulator: Emulator) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport())


def written(folder: Path, content: bytes) -> Path:
    path = folder / "cat.png"
    path.write_bytes(content)
    return path


def sent(emulator: Emulator, field: str) -> object:
    return emulator.ledger[0].body[field]


async def test_path_goes_out_as_base64(tmp_path: Path) -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        await kling.image2video.submit(image=written(tmp_path, PICTURE))

    assert sent(emulator, "image") == TEXT


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (PICTURE, TEXT),
        (TEXT, TEXT),
        (f"data:image/png;base64,{TEXT}", TEXT),
        ("https://pictures.test/cat.png", "https://pictures.test/cat.png"),
    ],
    ids=["bytes", "base64", "data", "url"],
)
async def test_source_goes_out_right(source: bytes | str, expected: str) -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        await kling.image2video.submit(image=source)

    assert sent(emulator, "image") == expected


async def test_open_file_goes_out_whole(tmp_path: Path) -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        with written(tmp_path, PICTURE).open("rb") as file:
            await kling.image2video.submit(image=file)

    assert sent(emulator, "image") == TEXT


async def test_ten_megabytes_go_out() -> None:
    emulator = Emulator()
    picture = png(300, 300, 10 * MEGABYTE)
    async with official(emulator) as kling:
        await kling.image2video.submit(image=picture)

    assert b64decode(str(sent(emulator, "image"))) == picture


async def test_file_in_memory_goes_out_from_where_it_stands() -> None:
    emulator = Emulator()
    file = io.BytesIO(b"skipped" + PICTURE)
    file.seek(7)
    async with official(emulator) as kling:
        await kling.image2video.submit(image=file)

    assert sent(emulator, "image") == TEXT


async def test_long_texts_go_out_letter_by_letter() -> None:
    emulator = Emulator()
    odd: dict[str, object] = {
        "text": '\N{SNOWMAN}"\\\n\N{GRINNING FACE}' * 40_000,
        "list": [],
        "map": {},
    }
    async with official(emulator) as kling:
        await kling.text2video.submit(prompt="A boat", extra={"odd": [odd, 1.5, None, True]})

    assert sent(emulator, "odd") == [odd, 1.5, None, True]


async def test_list_of_images_goes_out_in_order() -> None:
    emulator = Emulator()
    pictures = [png(300, 300), jpeg(320, 320), png(340, 340)]
    async with official(emulator) as kling:
        await kling.multi_image2video.submit(image_list=pictures, prompt="They meet")

    assert sent(emulator, "image_list") == [
        {"image": b64encode(picture).decode()} for picture in pictures
    ]


async def test_sound_goes_out_with_its_picture() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        await kling.avatar.submit(image=PICTURE, sound_file=wav(3))

    assert b64decode(str(sent(emulator, "sound_file"))) == wav(3)


def folder_of_pictures(folder: Path) -> Path:
    return folder


def missing_file(folder: Path) -> Path:
    return folder / "cat.png"


def empty_file(folder: Path) -> Path:
    return written(folder, b"")


def gif_named_png(folder: Path) -> Path:
    return written(folder, GIF)


def large_but_too_narrow(folder: Path) -> Path:
    return written(folder, png(299, 400, int(9.9 * MEGABYTE)))


def too_large(folder: Path) -> Path:
    return written(folder, png(300, 300, 10 * MEGABYTE + 1))


def too_long(folder: Path) -> Path:
    return written(folder, png(300, 760))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (folder_of_pictures, "director|folder"),
        (missing_file, "cat.png"),
        (empty_file, "empty"),
        (gif_named_png, "GIF"),
        (large_but_too_narrow, "299"),
        (too_large, "10"),
        (too_long, "2.5"),
    ],
)
async def test_bad_picture_is_refused_here(
    make: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        with pytest.raises(MediaError, match=f"(?s)image.*({reason})") as caught:
            await kling.image2video.submit(image=make(tmp_path))

    assert caught.value.field == "image"
    assert len(emulator.requests) == 0


async def test_bad_picture_in_a_list_is_named() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        with pytest.raises(MediaError, match=r"image_list\[1\]"):
            await kling.multi_image2video.submit(image_list=[PICTURE, GIF], prompt="They meet")

    assert len(emulator.requests) == 0


async def test_cancelled_reading_sends_nothing() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        with anyio.CancelScope() as span:
            span.cancel()
            await kling.image2video.submit(image=PICTURE)

    assert len(emulator.requests) == 0


async def test_unchecked_picture_is_left_to_the_server() -> None:
    emulator = Emulator()
    kling = Kling(KlingAI(KEY), transport=emulator.transport(), validate=False)
    async with kling:
        await kling.image2video.submit(image=png(300, 300))

    assert sent(emulator, "image") == TEXT
