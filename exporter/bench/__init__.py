"""How speed and memory of a bundle are measured on this host, and the form in which they are told."""

from __future__ import annotations

from ..runtimes.runs import Job, Run
from .host_runs import ONE_OPENMP, measure
from .lengths import DECODE_STEPS, decode_steps, usual_prompts

__all__ = ["DECODE_STEPS", "ONE_OPENMP", "Job", "Run", "decode_steps", "measure", "usual_prompts"]
