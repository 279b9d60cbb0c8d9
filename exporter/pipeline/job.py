"""One bundle of an export: its plan, the folder where it is made, and its journal."""

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
        plan: What to make.
        staging: Where its files are until it is published; already entered.
        journal: What is finished, by this run or by an earlier one that was killed.
        codec: The tokenizer and the chat template, read from the files in the bundle.
    """

    plan: ExportPlan
    staging: Staging
    journal: Journal
    codec: ChatCodec
