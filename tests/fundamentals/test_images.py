"""Lesson 2: pictures and sounds are paths, bytes, URLs or Base64."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from kling_async import Kling, MediaError
from kling_async.emulator import Emulator
from tests.media_samples import png, wav


async def test_image_is_a_path(kling: Kling, cat: Path) -> None:
    """A file is read, checked and encoded for you, away from the event loop."""
    video = await kling.image2video.run(image=cat, prompt="It yawns")

    assert video.url


async def test_image_is_bytes(kling: Kling, emulator: Emulator) -> None:
    """Kling wants raw Base64 and gets it."""
    picture = png(640, 640)

    await kling.image2video.submit(image=picture)

    assert emulator.ledger[0].body["image"] == base64.b64encode(picture).decode()


async def test_image_is_an_open_file(kling: Kling, cat: Path) -> None:
    """Anything with a `read` that gives bytes will do, such as an upload of a web form."""
    with cat.open("rb") as file:
        task = await kling.image2video.submit(image=file)

    assert (await task).url


async def test_image_is_a_url(kling: Kling, emulator: Emulator) -> None:
    """A URL goes out as it is: the server fetches the picture."""
    await kling.image2video.submit(image="https://example.com/cat.png")

    assert emulator.ledger[0].body["image"] == "https://example.com/cat.png"


async def test_last_frame_is_an_image_too(kling: Kling, cat: Path) -> None:
    """The video goes from `image` to `image_tail`."""
    video = await kling.image2video.run(
        image=cat, image_tail=cat, model_name="kling-v1-6", mode="pro", duration=5
    )

    assert video.url


async def test_several_images_make_one_video(kling: Kling, cat: Path) -> None:
    """Up to four subjects meet."""
    video = await kling.multi_image2video.run(image_list=[cat, cat], prompt="They meet")

    assert video.url


async def test_portrait_speaks(kling: Kling, cat: Path) -> None:
    """An avatar needs a portrait and a sound, and speaks as long as the sound lasts."""
    video = await kling.avatar.run(image=cat, sound_file=wav(seconds=4))

    assert video.videos[0].duration == pytest.approx(4.1)


async def test_small_image_is_refused_here(kling: Kling, emulator: Emulator) -> None:
    """Format, bytes, pixels and proportions are checked before anything is sent."""
    with pytest.raises(MediaError, match="image: .*300"):
        await kling.image2video.submit(image=png(640, 200))

    assert not emulator.requests


async def test_forgotten_path_is_explained(kling: Kling) -> None:
    """A string is a URL or Base64; a file name is told how to become a path."""
    with pytest.raises(MediaError, match=r"Path\('cat.png'\)"):
        await kling.image2video.submit(image="cat.png")
