from __future__ import annotations

import base64
import io
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async._errors import MediaError
from kling_async._media import AUDIO, IMAGE, MASK, MediaRules, encode, needs_reading, picture_size
from tests.media_samples import aac, jpeg, jpeg_segment, m4a, mp3, png, wav

CAT = png(300, 400)
CAT_TEXT = base64.b64encode(CAT).decode()
TEN_MB = 10 * 1024 * 1024


def refusal(source: Any, rules: MediaRules = IMAGE, **options: Any) -> str:
    with pytest.raises(MediaError) as caught:
        encode(source, rules, "image", **options)
    assert caught.value.field == "image"
    assert str(caught.value).endswith(f". {caught.value.advice}")
    return str(caught.value)


def accepts(source: bytes, rules: MediaRules = IMAGE, **options: Any) -> bool:
    text = encode(source, rules, "image", **options)
    return base64.b64decode(text, validate=True) == source


@contextmanager
def not_as_root() -> Iterator[None]:
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_url_stays_as_it_is() -> None:
    url = "https://example.com/cat.png?sign=%2F"

    assert encode(url, IMAGE, "image") is url
    assert encode(url, IMAGE, "image", check=False) is url


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        ("https://example.com/cat.png", False),
        ("HTTP://example.com/cat.png", False),
        (CAT_TEXT, True),
        ("data:image/png;base64,AAAA", True),
        (b"https://", True),
        (Path("https://"), True),
    ],
)
def test_only_a_url_needs_no_reading(source: Any, needed: bool) -> None:
    assert needs_reading(source) is needed


@pytest.mark.parametrize("as_kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_of_every_kind_become_base64(as_kind: Any) -> None:
    assert encode(as_kind(CAT), IMAGE, "image") == CAT_TEXT


def test_a_memoryview_with_gaps_is_read_through() -> None:
    every_second: Any = memoryview(bytes(byte for byte in CAT for _ in range(2)))[::2]

    assert encode(every_second, IMAGE, "image") == CAT_TEXT


def test_a_released_memoryview_is_refused() -> None:
    view = memoryview(CAT)
    view.release()

    assert "has been released" in refusal(view)


def test_a_bytearray_can_grow_again_afterwards() -> None:
    source: Any = bytearray(CAT)

    encode(source, IMAGE, "image")

    source.append(0)


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(CAT)

    assert encode(path, IMAGE, "image") == CAT_TEXT
    assert encode(path, IMAGE, "image", check=False) == CAT_TEXT


def test_an_open_file_is_read_from_where_it_stands() -> None:
    file = io.BytesIO(b"head" + CAT)
    file.seek(4)

    assert encode(file, IMAGE, "image") == CAT_TEXT


def test_short_reads_are_put_together() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(7)

    assert encode(Slow(CAT), IMAGE, "image") == CAT_TEXT


@pytest.mark.parametrize("source", [None, 7, object(), ["cat.png"], Path])
def test_anything_else_is_refused_by_its_type(source: Any) -> None:
    message = refusal(source)

    assert f"the {type(source).__name__} object is nothing to read media from" in message
    assert "Give a Path, bytes, a binary file, a URL or Base64" in message


def test_an_error_survives_pickling() -> None:
    with pytest.raises(MediaError) as caught:
        encode(b"", IMAGE, "image_list.2")

    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.field) == (str(caught.value), "image_list.2")


def test_base64_on_one_line_is_handed_on_itself() -> None:
    assert encode(CAT_TEXT, IMAGE, "image") is CAT_TEXT


def test_other_spellings_of_base64_are_normalised() -> None:
    picture = CAT + b"\xfb\xff\xfe"
    urlsafe = base64.urlsafe_b64encode(picture).decode()

    assert encode(base64.encodebytes(CAT).decode(), IMAGE, "image") == CAT_TEXT
    assert encode(urlsafe, IMAGE, "image") == base64.b64encode(picture).decode()


@pytest.mark.parametrize("head", ["data:image/png;base64,", "DATA:;Base64,", "\n data:a/b;base64,"])
def test_a_data_prefix_is_stripped(head: str) -> None:
    assert encode(head + CAT_TEXT, IMAGE, "image") == CAT_TEXT
    assert encode(head + CAT_TEXT, IMAGE, "image", check=False) == CAT_TEXT


@pytest.mark.parametrize("text", ["data:image/svg+xml,<svg>", "data:;charset=utf-8,a", "data:"])
def test_a_data_url_without_base64_is_refused(text: str) -> None:
    assert "the data: URL has no ;base64 mark" in refusal(text)


def test_broken_base64_is_refused_for_its_own_reason() -> None:
    assert "the data: URL is percent-encoded" in refusal("data:;base64," + CAT_TEXT + "%3D")
    assert "the text is cut off, or lacks the =" in refusal(CAT_TEXT[:-2])
    assert "the text is not Base64" in refusal("\0" * 300)


@pytest.mark.parametrize("text", ["", "  \n", "data:image/png;base64,", "data:;base64"])
def test_an_empty_text_is_refused(text: str) -> None:
    assert "is empty" in refusal(text)


@pytest.mark.parametrize("text", ["cat.png", "C:\\cat.png", "pictures/cat", "cats", "~/cat.jpeg"])
def test_a_file_name_as_text_is_answered_with_path(text: str) -> None:
    message = refusal(text)

    assert f"the text {text!r}" in message
    assert message.endswith(f"; a file is given as Path({text!r}).")


def test_a_long_text_is_not_repeated() -> None:
    assert refusal("secret" * 1000) == (
        "image: the text is no image by its first bytes. Give JPEG or PNG."
    )


def test_a_text_one_byte_too_large_is_refused() -> None:
    text = base64.b64encode(bytes(TEN_MB + 1)).decode()

    assert "is 10,485,761 bytes; the limit is 10,485,760 bytes (10 MB)" in refusal(text)


@pytest.mark.parametrize("url", ["ftp://host/cat.png", "file:///cat.png", "file:cat", "s3://b/c"])
def test_only_http_is_fetched(url: str) -> None:
    assert "is not http(s), all that Kling fetches. Give a file as Path" in refusal(url)


@pytest.mark.parametrize("url", ["https:///cat.png", "https://", "http:/host/cat", "https://:80/"])
def test_a_url_without_host_is_refused(url: str) -> None:
    assert "names no host" in refusal(url)


@pytest.mark.parametrize("url", ["https://a b/", " https://a/", "https://a/\n", "https://a/\x7f"])
def test_a_url_with_blanks_is_refused(url: str) -> None:
    assert "holds blanks or control characters" in refusal(url)


@pytest.mark.parametrize("url", ["https://[::1/cat", "https://host:port/", "http://host:99999/"])
def test_a_malformed_url_is_refused(url: str) -> None:
    assert "has no valid host and port" in refusal(url)


def test_a_refused_url_keeps_its_secrets() -> None:
    message = refusal("ftp://me:word@host/cat.png?sign=key#part")

    assert "the URL 'ftp://host/cat.png' is" in message


def test_a_directory_is_named_as_such(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"image: {str(tmp_path)!r} is a directory. Name a file in it."


def test_a_missing_file_is_shown_where_it_was_sought(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    relative = Path(os.path.relpath(path))

    assert refusal(relative).startswith(f"image: {str(relative)!r} does not exist as {str(path)!r}")
    path.touch()
    below = path / "below"
    assert refusal(below) == f"image: {str(below)!r} does not exist. Check the path."


def test_a_home_folder_is_not_expanded() -> None:
    assert "Write Path(...).expanduser()" in refusal(Path("~/no-such-cat.png"))


def test_a_url_made_into_a_path_is_recognised() -> None:
    assert "is a URL made into a path. Give a URL as str" in refusal(Path("https://host/cat.png"))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
def test_a_file_without_permission_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.touch(mode=0)

    with not_as_root():
        assert "may not be read by this user. Change its permissions" in refusal(path)


def test_a_path_with_a_null_byte_is_refused() -> None:
    assert "embedded null" in refusal(Path("cat\0.png"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "is a pipe or a device" in refusal(tmp_path / "pipe")
    assert "is a pipe or a device" in refusal(tmp_path / "pipe", check=False)


def test_a_closed_file_is_refused() -> None:
    file = io.BytesIO(CAT)
    file.close()

    assert "the file object is closed" in refusal(file)


def test_a_file_in_text_mode_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(CAT)

    with path.open(encoding="latin-1") as file:
        message = refusal(file)

    assert f"the file object {str(path)!r} was opened in text mode" in message
    assert 'open(path, "rb")' in message


def test_a_file_open_for_writing_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "cat.png").open("wb") as file:
        assert "cannot be read" in refusal(file)


@pytest.mark.parametrize(("piece", "kind"), [("text", "str"), (None, "NoneType"), (7, "int")])
def test_a_file_that_returns_no_bytes_is_refused(piece: object, kind: str) -> None:
    class Odd:
        def read(self, size: int) -> object:
            return piece

    assert f"returns {kind} from read(), not bytes" in refusal(Odd())


def test_an_asynchronous_file_is_refused() -> None:
    class Upload:
        async def read(self, size: int) -> bytes:
            return b""

    assert "is asynchronous. Give what its read() returns: await" in refusal(Upload())


@pytest.mark.parametrize("source", [b"", bytearray(), memoryview(b""), io.BytesIO()])
def test_an_empty_source_is_refused(source: Any) -> None:
    assert "is empty. Give one with content" in refusal(source)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat.png").touch()

    assert "cat.png' is empty" in refusal(tmp_path / "cat.png")


def test_exactly_ten_megabytes_are_accepted() -> None:
    assert accepts(png(300, 300, TEN_MB))
    assert len(encode(io.BytesIO(png(300, 300, TEN_MB)), MASK, "mask")) == 13_981_016


def test_one_byte_more_is_refused() -> None:
    message = refusal(png(300, 300, TEN_MB + 1))

    assert "is 10,485,761 bytes; the limit is 10,485,760 bytes (10 MB)" in message
    assert message.endswith("Compress it, or give a URL.")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    assert "cat.png' is 1,099,511,627,776 bytes; the limit is" in refusal(path)


def test_an_endless_file_is_refused_in_time() -> None:
    class Endless:
        def read(self, size: int) -> bytes:
            return bytes(size)

    assert "the file object is larger than allowed; the limit is 10,485,760" in refusal(Endless())


@pytest.mark.parametrize(
    ("width", "height"), [(300, 300), (300, 750), (750, 300), (400, 1000), (1000, 400)]
)
def test_a_picture_on_the_edge_is_accepted(width: int, height: int) -> None:
    assert accepts(png(width, height))
    assert accepts(jpeg(width, height))


def test_a_side_one_pixel_short_is_named() -> None:
    assert "is 299 x 400 px: its width 299 is under 300 px" in refusal(jpeg(299, 400))
    assert "is 400 x 299 px: its height 299 is under 300 px" in refusal(png(400, 299))


def test_a_heavy_small_picture_is_refused_by_its_side() -> None:
    message = refusal(png(299, 299, 9_900_000))

    assert message.endswith("is 299 x 299 px: its width 299 is under 300 px. Enlarge it.")


@pytest.mark.parametrize(("width", "height"), [(1001, 400), (400, 1001)])
def test_a_ratio_one_pixel_off_is_refused(width: int, height: int) -> None:
    message = refusal(png(width, height))

    assert f"{width} x {height} px: its width must be 0.4 to 2.5 times its height" in message


@pytest.mark.parametrize("picture", [CAT[:23], jpeg(300, 300)[:100]])
def test_a_damaged_header_is_refused(picture: bytes) -> None:
    assert "with a header cut off or damaged. Export it again" in refusal(picture)


@pytest.mark.parametrize("picture", [png(0, 300), png(300, 0), jpeg(0, 300), jpeg(300, 0)])
def test_a_picture_without_extent_is_refused(picture: bytes) -> None:
    assert "claims to be" in refusal(picture)


def test_another_format_is_named_whatever_the_name(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(b"GIF89a")

    message = refusal(path)

    assert "cat.png' is GIF by its first bytes, whatever its name" in message
    assert message.endswith("Convert it to JPEG or PNG.")


def test_an_error_page_is_recognised() -> None:
    assert "is HTML by its first bytes" in refusal(b"<html>")
    assert "It may be an error page saved under that name" in refusal(b"<html>")


def test_base64_in_bytes_is_not_encoded_again() -> None:
    assert "Give Base64 as str, not as bytes" in refusal(CAT_TEXT.encode())
    assert "Give Base64 as str, not as bytes" in refusal(base64.b64encode(jpeg(300, 300)))


def test_an_unknown_format_is_refused() -> None:
    assert "is no image by its first bytes. Give JPEG or PNG" in refusal(b"?")
    assert "is no audio by its first bytes. Give MP3, WAV, M4A or AAC" in refusal(b"?", AUDIO)


@pytest.mark.parametrize("recording", [wav(2), wav(60), mp3(2), mp3(60), aac(60), m4a(60)])
def test_a_recording_on_the_edge_is_accepted(recording: bytes) -> None:
    assert accepts(recording, AUDIO)
    assert accepts(recording, AUDIO, seconds=(2, 60))


@pytest.mark.parametrize("record", [wav, mp3, aac, m4a])
def test_a_length_outside_is_refused(record: Any) -> None:
    short = refusal(record(1.6), AUDIO, seconds=(2, 60))
    long = refusal(record(60.5), AUDIO, seconds=(2, 60))

    assert " s; 2 to 60 s are accepted. Add silence." in short
    assert "lasts 60." in long
    assert long.endswith(" s; 2 to 60 s are accepted. Cut it.")


def test_a_wav_is_measured_to_the_sample() -> None:
    assert "lasts 60.00012 s" in refusal(wav(60 + 1 / 8000), AUDIO, seconds=(2, 60))


def test_an_unknown_length_is_not_checked() -> None:
    assert accepts(mp3(1) + b"junk", AUDIO, seconds=(2, 60))


def test_a_picture_has_no_length() -> None:
    assert accepts(CAT, IMAGE, seconds=(2, 60))


def test_audio_has_its_own_limit() -> None:
    assert "the limit is 5,242,880 bytes (5 MB)" in refusal(wav(656), AUDIO)


@pytest.mark.parametrize("source", [b"", b"no picture", bytes(TEN_MB + 1)])
def test_unchecked_bytes_are_only_encoded(source: bytes) -> None:
    assert accepts(source, check=False)


@pytest.mark.parametrize("text", ["", "cat.png", "data:image", "ftp://host/cat", "QUJ\nD"])
def test_unchecked_text_is_left_alone(text: str) -> None:
    assert encode(text, IMAGE, "image", check=False) == text


@pytest.mark.parametrize("source", [None, Path("no-such-file"), Path()])
def test_what_cannot_be_read_is_refused_unchecked_too(source: Any) -> None:
    assert refusal(source, check=False)


def test_a_rule_with_one_format_names_it() -> None:
    assert refusal(CAT, MediaRules("image", ("JPEG",), 9999)).endswith("Convert it to JPEG.")


@pytest.mark.parametrize("before", [b"", jpeg_segment(0xE1, bytes(65000)) * 9])
def test_the_size_of_an_encoded_picture_is_found_again(before: bytes) -> None:
    picture = jpeg(300, 400, segments=before)

    assert picture_size(encode(picture, IMAGE, "image")) == (300, 400)


@pytest.mark.parametrize("encoded", ["https://host/cat.png", "cat.png", "", "AAAA", CAT_TEXT[:16]])
def test_no_size_is_found_where_no_picture_is(encoded: str) -> None:
    assert picture_size(encoded) is None


SAMPLES = [
    *(png(300, 300), jpeg(300, 300), jpeg(300, 300, segments=jpeg_segment(0xE1, bytes(50)))),
    *(
        wav(0.01),
        mp3(0.1),
        aac(0.2),
        m4a(3),
        m4a(3, brand=b"isom"),
        b"ID3\4\0\0\0\0\0\0" + mp3(0.1),
    ),
    *(b"GIF89a", b"RIFF\0\0\0\0WEBP", b"<html>", b"\xff\xd8\xff", b"\0\0\0\1ftypM4A "),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    extremes = st.sampled_from([bytes(4), b"\xff" * 4, b"\0\0\0\1"])
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, min(len(data), 200)))
        data[at : at + draw(st.integers(0, 8))] = draw(extremes | st.binary(max_size=8))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=300, deadline=2000)
@given(data=st.binary() | damaged(), rules=st.sampled_from([IMAGE, AUDIO]))
def test_any_bytes_are_encoded_or_refused(data: bytes, rules: MediaRules) -> None:
    try:
        text = encode(data, rules, "image", seconds=(2, 60))
    except MediaError:
        return

    assert base64.b64decode(text, validate=True) == data


@settings(max_examples=300, deadline=2000)
@given(
    st.text()
    | st.builds("".join, st.tuples(st.sampled_from(["http://", "data:;base64,"]), st.text()))
    | damaged().map(lambda data: base64.b64encode(data).decode())
)
def test_any_text_is_encoded_or_refused(text: str) -> None:
    try:
        encoded = encode(text, IMAGE, "image")
    except MediaError:
        return

    assert text.endswith(encoded)
