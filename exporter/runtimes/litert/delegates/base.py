"""What a delegate of LiteRT offers."""

from __future__ import annotations

from ...delegates import Delegate


class LiteRTDelegate(Delegate):
    """A delegate that LiteRT applies when it loads a program; the program itself is the same for all of them.

    The Interpreter and LiteRT-LM's CPU backend apply XNNPACK by themselves. A delegate that has to be asked for adds
    to this class what ``runner``, ``litert_lm_worker`` and ``requirements`` must ask LiteRT for.
    """
