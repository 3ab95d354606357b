"""What commands write to is made fit for it, whatever it is."""

from __future__ import annotations

import sys
from io import BytesIO, StringIO, TextIOWrapper

import pytest

from kling_async.cli._streams import prepare


def test_no_letter_is_too_strange_to_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, "ascii"))
    monkeypatch.setattr(sys, "stderr", StringIO())  # as programs have it that run a command

    assert prepare() is None
    sys.stdout.write("a b\u00f6at")
    sys.stdout.flush()

    assert written.getvalue() == b"a b?at"
