"""The app's core, compiled: fixtures of ``tests.support.java_core``."""

from tests.support.java_core import core, jdk, variant

__all__ = ["core", "jdk", "variant"]
