"""Requests are the same when what is sent is the same, however large."""

from __future__ import annotations

from kling_async._fingerprint import fingerprint

BODY = {"prompt": "A boat", "image": "x" * 10_000, "list": [{"image": "y" * 5000}, 1], "cfg": 0.5}


def test_large_texts_are_kept_by_their_digest() -> None:
    _, facts = fingerprint(BODY)

    assert facts["prompt"] == "A boat"
    assert facts["image"]["characters"] == 10_000
    assert facts["list"][0]["image"]["characters"] == 5000
    assert (facts["list"][1], facts["cfg"]) == (1, 0.5)
    assert len(str(facts)) < 500


def test_order_of_fields_does_not_count() -> None:
    assert fingerprint(BODY)[0] == fingerprint(dict(reversed(BODY.items())))[0]


def test_every_letter_counts() -> None:
    other = BODY | {"image": "x" * 9999 + "z"}

    assert fingerprint(BODY)[0] != fingerprint(other)[0]


def test_ids_and_addresses_of_ours_do_not_count() -> None:
    body = BODY | {"external_task_id": "boat-1", "callback_url": "https://us.example/secret"}

    assert fingerprint(body) == fingerprint(BODY)
