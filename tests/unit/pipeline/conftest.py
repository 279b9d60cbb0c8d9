"""The pipeline on the fake runtime: fixtures of ``tests.support.fake_pipeline``."""

from tests.support.fake_pipeline import ask, checkpoint, fake, goldens, real_goldens, run, site

__all__ = ["ask", "checkpoint", "fake", "goldens", "real_goldens", "run", "site"]
