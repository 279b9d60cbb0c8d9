"""Gemcut cuts open models to fit the device. No bundle leaves without proof."""

__version__ = "0.1.0"
