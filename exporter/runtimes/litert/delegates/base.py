"""What a delegate of LiteRT offers: the Interpreter applies it when it loads a program."""

from __future__ import annotations

from ...delegates import Delegate

# The delegate that the Interpreter applies by itself, as manifests name it.
INTERPRETER_DELEGATE = "XNNPACK"


class LiteRTDelegate(Delegate):
    """A delegate that LiteRT-LM's engine can be told to use."""
