"""The dialects: CometAPI, Kling itself, and compatible gateways."""

from __future__ import annotations

from ._base import Provider
from .cometapi import CometAPI
from .gateway import Gateway
from .kling import KlingAI

__all__ = ["CometAPI", "Gateway", "KlingAI", "Provider"]
