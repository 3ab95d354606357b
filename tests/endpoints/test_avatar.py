"""What avatar takes and refuses, by provider."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest

from kling_async import Avatar
from tests.endpoints.wire import PICTURE, SPEECH, Cases, accepted, missing, refused
from tests.media_samples import aac, m4a, mp3, png, wav

FIVE_MB = 5 * 1024 * 1024
ROW = Cases({"image": PICTURE, "audio_id": "1"}, gateway={})
ALL = ("kling", "comet", "gateway")

VALID = [
    *(ROW.valid("audio-id", to) for to in ALL),
    *(ROW.valid("speech", to, audio_id=None, sound_file=SPEECH) for to in ALL),
    *(ROW.valid("prompt", to, prompt="a" * 2500) for to in ALL),
    *(ROW.valid(mode, to, mode=mode) for mode in ("std", "pro") for to in ALL),
    ROW.valid("watermark", watermark_info={"enabled": True}),
    ROW.valid("empty-prompt", prompt=""),
]
INVALID = [
    *(ROW.invalid("prompt", to, "prompt~2500~2501", prompt="a" * 2501) for to in ALL),
    *(ROW.invalid("4k", to, "mode~pro, std~'4k'", mode="4k") for to in ALL),
    ROW.invalid("no-voice", "kling", "exactly one of audio_id and sound_file", audio_id=None),
    ROW.invalid("two-voices", "kling", "exactly one of audio_id and sound_file", sound_file=SPEECH),
    ROW.invalid("empty-id", "kling", "audio_id~not empty", audio_id=""),
    ROW.invalid("number", "kling", "audio_id~string", audio_id=5),
    ROW.invalid("no-image", "kling", "image~got NoneType", image=None),
    ROW.invalid("model", "kling", "model_name", model_name="kling-v1"),
    ROW.invalid("small-image", "kling", "image: ~299~300 px", image=png(299, 300)),
]


@pytest.mark.parametrize(("fields", "to"), VALID)
async def test_valid_request_is_sent(fields: dict[str, Any], to: str) -> None:
    body = await accepted(Avatar(**fields), to)

    assert body == {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize(("fields", "to", "words"), INVALID)
async def test_invalid_request_is_refused(
    fields: dict[str, Any], to: str, words: list[str]
) -> None:
    text = await refused(Avatar, fields, to)

    assert not missing(words, text)


def padded(sound: bytes, size: int) -> bytes:
    """A WAV of that size: what stands behind its sound is not looked at."""
    return sound + bytes(size - len(sound))


RECORDINGS = {
    "2-s": (wav(2, rate=10), "kling"),
    "300-s": (wav(300, rate=10), "kling"),
    "300-s-gateway": (wav(300, rate=10), "gateway"),
    "60-s-comet": (wav(60, rate=10), "comet"),
    "mp3": (mp3(60), "comet"),
    "m4a": (m4a(60), "comet"),
    "aac": (aac(60), "comet"),
    "5-MB": (padded(wav(3), FIVE_MB), "comet"),
}
NOT_RECORDINGS = {
    "below-2-s": (wav(1.9, rate=10), "kling", "1.9 s~2 to 300 s"),
    "below-2-s-comet": (wav(1.9, rate=10), "comet", "1.9 s~2 to 60 s"),
    "301-s": (wav(301, rate=10), "kling", "301 s~2 to 300 s"),
    "301-s-gateway": (wav(301, rate=10), "gateway", "301 s~2 to 300 s"),
    "61-s-comet": (wav(61, rate=10), "comet", "61 s~2 to 60 s"),
    "61-s-mp3": (mp3(61), "comet", "61.0~2 to 60 s"),
    "61-s-m4a": (m4a(61), "comet", "61 s~2 to 60 s"),
    "61-s-aac": (aac(61), "comet", "60.99~2 to 60 s"),
    "over-5-MB": (padded(wav(3), FIVE_MB + 1), "comet", "5,242,881 bytes~5,242,880 bytes"),
    "ogg": (b"OggS" + bytes(100), "kling", "Ogg~MP3, WAV, M4A or AAC"),
    "picture": (png(300, 300), "kling", "PNG~MP3, WAV, M4A or AAC"),
}


@pytest.mark.parametrize(("sound", "to"), RECORDINGS.values(), ids=RECORDINGS)
async def test_recording_within_the_rules_is_encoded(sound: bytes, to: str) -> None:
    body = await accepted(Avatar(image=PICTURE, sound_file=io.BytesIO(sound)), to)

    assert body["sound_file"] == base64.b64encode(sound).decode()


@pytest.mark.parametrize(("sound", "to", "says"), NOT_RECORDINGS.values(), ids=NOT_RECORDINGS)
async def test_recording_outside_the_rules_is_refused(sound: bytes, to: str, says: str) -> None:
    text = await refused(Avatar, {"image": PICTURE, "sound_file": sound}, to)

    assert not missing(["sound_file: ", *says.split("~")], text)
