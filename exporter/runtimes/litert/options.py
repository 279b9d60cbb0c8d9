"""LiteRT's own options."""

from __future__ import annotations

from ..options import RuntimeOption

DYNAMIC_SHAPE = "dynamic_shape"
PLAIN_TFLITE = "plain_tflite"
OPTIONS = (
    RuntimeOption(
        DYNAMIC_SHAPE,
        help="LiteRT: one prefill of any length instead of fixed lengths. Default: the target's.",
        description="LiteRT: one prefill of any length instead of fixed lengths.",
        in_target="One prefill signature that takes any number of tokens instead.",
        can_refuse=True,
    ),
    RuntimeOption(
        PLAIN_TFLITE,
        help="LiteRT: put the bare model.tflite beside the .litertlm.",
        description="LiteRT: put the bare model.tflite beside the .litertlm.",
    ),
)
