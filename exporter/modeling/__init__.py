"""What a transformers decoder is, free of any runtime: KV cache, experts, rotary tables, rehearsal."""
