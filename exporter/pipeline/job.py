"""One bundle of an export: its plan, the place where it is made, and its journal."""

from __future__ import annotations

from dataclasses import dataclass

from ..bundle.staging import Staging
from ..prompt.codec import ChatCodec
from .journal.journal import Journal
from .plan import ExportPlan


@dataclass(frozen=True)
class BundleJob:
    """One bundle of an export.

    Attributes:
        plan: What it is to be.
        staging: Entered; where its files lie until it is published.
        journal: What of it is finished, by this run or by one that was killed.
        codec: The tokenizer and the chat template, read from the files in the bundle.
    """

    plan: ExportPlan
    staging: Staging
    journal: Journal
    codec: ChatCodec
