"""What a transformers decoder consists of, independent of any runtime: KV cache, experts, rotary tables, rehearsal."""
