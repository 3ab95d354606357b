"""Callbacks in: an ASGI app that Kling calls when tasks change, and what it is made of."""

from __future__ import annotations

from ._callback import Callback, parse_callback
from ._callback_app import callback_app

__all__ = ["Callback", "callback_app", "parse_callback"]
