"""What users test their own programs with."""

from __future__ import annotations

__all__: list[str] = []
