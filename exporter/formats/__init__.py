"""Readers of program files that need no runtime installed."""
