"""LlmMetadata: what LiteRT-LM's engine knows about a model besides its program and tokenizer.

Schema: litert_lm_builder.runtime.proto.llm_metadata_pb2, release 0.18. What the engine does with each field was read in
LiteRT-LM's runtime/engine/engine_settings.cc, core/session_utils.cc and conversation/, and tried with 0.18.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .minijinja import rewrite
from .minijinja_expressions import literal
from .spacing import END, MARK, Spacing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The engine's data processors by text model type. The others are generic: it renders their templates as they are.
MODEL_TYPES = {"gemma3_text": "gemma3", "gemma3n_text": "gemma3n", "gemma4_text": "gemma4"}
GENERIC = "generic_model"
# Gemma 3's processors hand tools to the template as Python source, and arguments as Python literals, whatever it needs.
_REWRITES_TOOLS = ("gemma3", "gemma3n")
# What the engine's processor for FunctionGemma reads calls by. Its own defaults, but for the template, which it would
# otherwise not give the tools to (LiteRT-LM, model_data_processor/function_gemma_data_processor_config.h).
_CALLING = "<start_function_call>"
_FUNCTION_GEMMA: dict[str, str | bool] = {
    "code_fence_start": _CALLING,
    "code_fence_end": "<end_function_call>",
    "syntax_type": "fc",
    "escape_fence_strings": True,
    "open_quote": "<escape>",
    "close_quote": "<escape>",
    "function_response_start": "<start_function_response>",
    "use_template_for_fc_format": True,
}
# Token -> start and end of a model's thoughts (litert-torch, model_ext/gemma4/metadata_builder.py, and its core).
_CHANNELS = (("<|channel>", "<|channel>thought\n", "<channel|>"), ("<think>", "<think>", "</think>"))
# transformers' defaults for sampling (GenerationConfig): the engine's own are 0, which it can't sample with.
_SAMPLING = {"top_k": 50, "top_p": 1.0, "temperature": 1.0}
_FROM_TRANSFORMERS = ("tools", "documents")  # None in every template that it renders, if they aren't given
_BASE = "{%- for message in messages -%}\n{{- message.content -}}\n{%- endfor -%}\n"
_FIRST, _SECOND = "gemcut part 1", "gemcut part 2"

# The engine hands every content over as a list of parts (since 0.18; google-ai-edge/LiteRT-LM issue 3688), a mapping
# of a tool's reply as a list of that mapping; Gemcut's and transformers' chats have plain strings and mappings.
_MESSAGES = """{%- set gemcut = namespace(messages=[], content="") -%}
{%- for message in messages -%}
{%- set gemcut.content = message.content -%}
{%- if message.content is sequence and message.content is not string and message.content is not mapping -%}
{%- if message.content | length == 1 and message.content[0].type == "text" -%}
{%- set gemcut.content = message.content[0].text -%}
{%- elif message.content | length == 1 and message.content[0] is mapping and "type" not in message.content[0] -%}
{%- set gemcut.content = message.content[0] -%}
JOIN{%- endif -%}
{%- endif -%}
{%- if "content" in message -%}
{%- set gemcut.messages = gemcut.messages + [dict(message, content=gemcut.content)] -%}
{%- else -%}
{%- set gemcut.messages = gemcut.messages + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = gemcut.messages -%}
"""
_JOIN = """{%- elif message.content | rejectattr("type", "eq", "text") | list | length == 0 -%}
{%- set gemcut.content = message.content | map(attribute="text") | join -%}
"""


def engine_template(
    source: str | None, tokenizer: PreTrainedTokenizerBase, *, start: int | None, spacing: Spacing
) -> str:
    """Return the template with which the engine renders the prompts that transformers renders from ``source``.

    The start token is left out at the front, because the engine puts it there; strings and tools come in the form that
    templates are written for; tokens that transformers names are defined; and plain text is spaced for the tokenizer.

    Args:
        source: The chat template; None for a base model, whose messages are joined as they are.
        tokenizer: As transformers loaded it.
        start: From ``checkpoint.start_token``.
        spacing: ``TokenizerChoice.spacing``.

    Raises:
        UnsupportedError: The template uses something that the engine's Jinja can't do.
    """
    body, names = rewrite(source if source is not None else _BASE)
    joins = source is None or not _takes_parts(tokenizer, source)
    head = [_MESSAGES.replace("JOIN", _JOIN if joins else "")]
    head += [
        f"{{%- if {name} is undefined -%}}\n{{%- set {name} = none -%}}\n{{%- endif -%}}\n"
        for name in _FROM_TRANSFORMERS
        if name in names
    ]
    tokens = tokenizer.special_tokens_map
    head += [f"{{%- set {name} = {literal(str(tokens[name]))} -%}}\n" for name in sorted(names & tokens.keys())]
    tail = _without_start_token(str(tokenizer.bos_token)) if start is not None else ""
    tail += _with_spaces(spacing)
    if not tail:
        return "".join(head) + body
    return "".join(head) + f"{{%- set gemcut_text -%}}\n{body}{{%- endset -%}}\n{tail}{{{{- gemcut_text -}}}}\n"


def llm_metadata(
    *,
    text_type: str,
    context: int,
    stop_ids: Sequence[int],
    start: int | None,
    pad: int | None,
    template: str,
    tools: bool,
    generation: Mapping[str, Any],
    vocabulary: Mapping[str, int],
) -> bytes:
    """Return a serialized LlmMetadata; the same arguments give the same bytes.

    Stop tokens are only ids: the engine looks for ids and turns strings into ids first, so the punctuated string
    variants that litert-torch adds are for stop strings that aren't tokens. A request's own sampling overrides the one
    stated here.

    Args:
        text_type: ``model_type`` of the text part's configuration.
        context: Tokens that fit, prompt and reply together.
        stop_ids: Every id that ends a turn.
        start: From ``checkpoint.start_token``.
        pad: The padding token's id.
        template: From ``engine_template``.
        tools: Whether the template renders tools, from ``renders_tools``.
        generation: The contents of generation_config.json.
        vocabulary: Ids by token.
    """
    from litert_lm_builder.runtime.proto import llm_metadata_pb2, sampler_params_pb2

    made = llm_metadata_pb2.LlmMetadata(max_num_tokens=context, jinja_prompt_template=template)
    for index in sorted(set(stop_ids)):
        made.stop_tokens.add().token_ids.ids.append(index)
    if start is not None:
        made.start_token.token_ids.ids.append(start)
    if pad is not None:
        made.pad_token.token_ids.ids.append(pad)
    if generation.get("do_sample"):
        stated = {name: generation.get(name) for name in _SAMPLING}
        top_k, top_p, temperature = (_SAMPLING[name] if value is None else value for name, value in stated.items())
        made.sampler_params.type = sampler_params_pb2.SamplerParameters.TOP_P  # which takes k too
        made.sampler_params.k, made.sampler_params.p = int(top_k), float(top_p)
        made.sampler_params.temperature = float(temperature)
    made.suppress_tokens.ids.extend(sorted(set(generation.get("suppress_tokens") or ())))
    for token, opening, closing in _CHANNELS:
        if token in vocabulary:
            made.channels.add(channel_name="thought", start=opening, end=closing)
            break
    made.supports_thinking = len(made.channels) > 0
    made.supports_function_calling = tools
    kind = engine_type(text_type, tools, template)
    processor = getattr(made.llm_model_type, kind)
    processor.SetInParent()
    if kind == "function_gemma":
        for name, value in _FUNCTION_GEMMA.items():
            setattr(processor, name, value)
    written: bytes = made.SerializeToString(deterministic=True)
    return written


def engine_type(text_type: str, tools: bool, template: str = "") -> str:
    """Return the engine's data processor, which is a field of LlmModelType.

    Gemma 4's and FunctionGemma's parse tool calls out of replies and hand tools over unchanged. Gemma 3's would rewrite
    tools, so another template that renders them gets the generic one, which doesn't parse replies.

    Args:
        text_type: ``model_type`` of the text part's configuration.
        tools: Whether the template renders tools.
        template: The chat template, which says by its tokens whether it is FunctionGemma's.
    """
    found = MODEL_TYPES.get(text_type, GENERIC)
    if tools and found == "gemma3" and _CALLING in template:
        return "function_gemma"
    return GENERIC if tools and found in _REWRITES_TOOLS else found


def renders_tools(source: str | None) -> bool:
    """Return whether a chat template uses the tools that it is given."""
    return source is not None and "tools" in rewrite(source)[1]


def _render(tokenizer: PreTrainedTokenizerBase, template: str, content: Any) -> str:
    chat = [{"role": "user", "content": content}]
    return str(tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, add_generation_prompt=True))


def _takes_parts(tokenizer: PreTrainedTokenizerBase, template: str) -> bool:
    """Whether a template renders the texts in a content that is a list, rather than the list itself."""
    parts = [{"type": "text", "text": _FIRST}, {"type": "text", "text": _SECOND}]
    try:
        text = _render(tokenizer, template, parts)
    except Exception:  # a template is someone else's program: it can raise anything
        return False
    return _FIRST in text and _SECOND in text and repr(_FIRST) not in text


def _without_start_token(bos: str) -> str:
    return (
        f"{{%- if gemcut_text is startingwith({literal(bos)}) -%}}\n"
        f"{{%- set gemcut_text = gemcut_text[{len(bos)}:] -%}}\n{{%- endif -%}}\n"
    )


def _with_spaces(spacing: Spacing) -> str:
    """``Spacing.apply`` in Jinja."""
    steps = [
        f"{literal(MARK)} ~ gemcut_text ~ {literal(END)}"
        if old is None
        else f"gemcut_text | replace({literal(old)}, {literal(new)})"
        for old, new in spacing.steps()
    ]
    return "".join(f"{{%- set gemcut_text = {step} -%}}\n" for step in steps)
