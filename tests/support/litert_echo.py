"""A program that says its prompt again, for tests of what the engine makes of templates and tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SLOTS = 256
PREFILL = 64


def write_echo(path: Path, vocab_size: int) -> Path:
    """Writes a ``.tflite`` with the engine's signatures whose decode returns the prompt's tokens, one a step.

    The key cache holds the tokens by position, the value cache how many were said; a prefill resets it.
    """
    import litert_torch
    import torch

    class Echo(torch.nn.Module):
        def __init__(self, decodes: bool) -> None:
            super().__init__()
            self.decodes = decodes

        def forward(self, tokens: Any, input_pos: Any, mask: Any, kv_cache_k_0: Any, kv_cache_v_0: Any) -> Any:
            row = tokens.float().reshape(1, 1, -1, 1).expand(1, 1, tokens.shape[1], 4)
            placed = (torch.arange(SLOTS).reshape(1, -1) == input_pos.reshape(-1, 1)).float()
            if tokens.shape[1] > 1:  # the engine pads positions with zeros: only the first row can be at zero
                real = torch.cat([torch.ones(1), (input_pos[1:] > 0).float()])
                placed = placed * real.reshape(-1, 1)
            kept = kv_cache_k_0 * (1 - placed.amax(0).reshape(1, 1, SLOTS, 1))
            keys = kept + torch.einsum("ns,abnd->absd", placed, row)
            if not self.decodes:
                return {"kv_cache_k_0": keys, "kv_cache_v_0": kv_cache_v_0 * 0}
            at = (torch.arange(SLOTS).float() == kv_cache_v_0[0, 0, 0, 0]).float().reshape(1, 1, SLOTS, 1)
            said = (keys * at).sum(2)[..., 0:1].reshape(1, 1, 1) + mask.sum() * 0
            logits = -((torch.arange(vocab_size).float().reshape(1, 1, vocab_size) - said) ** 2)
            return {"kv_cache_k_0": keys, "kv_cache_v_0": kv_cache_v_0 + 1, "logits": logits}

    def inputs(count: int) -> dict[str, Any]:
        return {
            "tokens": torch.zeros(1, count, dtype=torch.int32),
            "input_pos": torch.arange(count, dtype=torch.int32),
            "mask": torch.zeros(1, 1, count, SLOTS),
            "kv_cache_k_0": torch.zeros(1, 1, SLOTS, 4),
            "kv_cache_v_0": torch.zeros(1, 1, 4, SLOTS),
        }

    model = litert_torch.signature(f"prefill_{PREFILL}", Echo(False).eval(), sample_kwargs=inputs(PREFILL))
    model.signature("decode", Echo(True).eval(), sample_kwargs=inputs(1)).convert().export(str(path))
    return path


def open_engine(path: Path) -> Any:
    """LiteRT-LM's engine on a `.litertlm`, quiet and without a cache."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.SILENT)
    return litert_lm.Engine(str(path), backend=litert_lm.Backend.CPU(thread_count=1), cache_dir=":nocache")


def greedy() -> Any:
    """What asks for the likeliest token, whatever the file's own sampling is."""
    import litert_lm

    return litert_lm.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=0)


def rendered(
    engine: Any, chat: list[dict[str, Any]], tools: Any = None, template: str | None = None, **context: Any
) -> str:
    """What the engine's conversation feeds for the chat's last message, behind the others."""
    with engine.create_conversation(
        messages=chat[:-1], tools=declared(tools), chat_template=template, extra_context=context or None
    ) as conversation:
        return conversation.render_message_to_string(chat[-1])


def declared(tools: Any) -> Any:
    """Tools in OpenAI's form as the engine takes them; None if there are none."""
    import litert_lm

    class Tool(litert_lm.Tool):
        def __init__(self, description: dict[str, Any]) -> None:
            self.description = description

        def get_tool_description(self) -> dict[str, Any]:
            return self.description

        def execute(self, param: Any) -> Any:
            return {}

    return [Tool(tool) for tool in tools or ()] or None
