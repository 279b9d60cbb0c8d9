"""Readers of program files that don't need a runtime to be installed."""
