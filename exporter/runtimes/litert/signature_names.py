"""Names that LiteRT-LM's engine knows signatures and inputs by (litert_compiled_model_executor_utils.cc)."""

from __future__ import annotations

PREFILL = "prefill_{}"
DYNAMIC_PREFILL = "prefill"  # which takes any number of tokens
DECODE = "decode"
CACHE_PREFIX = "kv_cache_"
