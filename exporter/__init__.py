"""Gemcut: cuts open models to fit the device, and publishes no bundle without proof."""

from __future__ import annotations

__version__ = "0.1.0"
