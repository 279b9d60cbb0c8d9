"""Which prompts of its own a model is proven with, checked before anything slow begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoint.golden_prompts import own_prompts
from ..errors import CheckpointError, UsageError
from ..prompt.chats import Prompt, render_chat
from ..prompt.codec import ChatCodec, Template, TemplateRefused
from ..prove.prompt_file import DOCUMENTED, load_prompts
from ..prove.prompts import BuiltIn, takes_tools

if TYPE_CHECKING:
    from ..checkpoint.opened import Checkpoint
    from .request import ExportRequest


@dataclass(frozen=True)
class PromptPlan:
    """The prompts that an export asks.

    Attributes:
        file: Where its own are from; None without any.
        own: Its own; without a chat template those that are plain text.
        built_in: Which of Gemcut's own may be taken as well.
    """

    file: Path | None = None
    own: tuple[Prompt, ...] = ()
    built_in: BuiltIn = "all"


def plan_prompts(request: ExportRequest, checkpoint: Checkpoint) -> PromptPlan:
    """Read the prompts that were named, else those beside the adapter or the checkpoint.

    Raises:
        CheckpointError: The file can't be read, or holds a prompt that the template can't show to the model.
        UsageError: There is no such file, or a budget can't be measured.
    """
    file = _file(request, checkpoint)
    every = load_prompts(file) if file is not None else []
    codec = checkpoint_codec(checkpoint)
    own = tuple(prompt for prompt in every if codec.has_template or prompt.text)
    if request.golden_prompts is not None and len(own) < len(every):
        chat = next(prompt for prompt in every if prompt not in own)
        raise CheckpointError(
            f"{file}: the prompt {chat.id!r} is a chat, and there is no chat template",
            hint='Write "text" instead of "messages" for a base model, or name a template with --chat-template FILE.',
        )
    unseen = next((prompt.id for prompt in own if prompt.tools and _hides_tools(codec, prompt)), None)
    if unseen is not None:
        raise CheckpointError(
            f"{file}: the prompt {unseen!r} has tools, but the chat template of {checkpoint.name} writes none: "
            "the model would never see them",
            hint="Take a model with tool calls (FunctionGemma, Gemma 4), pass its template with --chat-template FILE, "
            "or leave the tools out of the prompt.",
        )
    found = PromptPlan(file, own, request.built_in_prompts)
    _check_measurable(request, found, codec)
    return found


def checkpoint_codec(checkpoint: Checkpoint) -> ChatCodec:
    """Return the checkpoint's tokenizer and template, as its bundle will have them."""
    source = checkpoint.chat_template
    template = None if source is None else Template(source, checkpoint.special_tokens)
    return ChatCodec(checkpoint.tokenizer.backend_tokenizer, template, checkpoint.bos_id)


def _file(request: ExportRequest, checkpoint: Checkpoint) -> Path | None:
    if request.golden_prompts is None:
        return own_prompts(checkpoint)
    file = Path(request.golden_prompts).expanduser()
    if not file.is_file():
        raise UsageError(f"--golden-prompts {file}: there is no such file", hint=DOCUMENTED)
    return file


def _hides_tools(codec: ChatCodec, prompt: Prompt) -> bool:
    """Whether a prompt is the same text without its tools; one that the template refuses is told of later."""
    try:
        return render_chat(codec, prompt) == render_chat(codec, replace(prompt, tools=()))
    except TemplateRefused:
        return False


def _check_measurable(request: ExportRequest, plan: PromptPlan, codec: ChatCodec) -> None:
    """Refuse a budget on what no prompt can show."""
    budgets = request.budgets
    if budgets is None:
        return
    if budgets.expected is not None and not any(prompt.expected for prompt in plan.own):
        raise UsageError(
            f"the budget expected = {budgets.expected:g} can't be measured: no prompt has an expected answer",
            hint=f'Add "expected" to a prompt of golden_prompts.jsonl ({DOCUMENTED}), or leave the budget out.',
        )
    built_in = plan.built_in != "none" and codec.has_template and takes_tools(codec)
    if budgets.tool_calls is not None and not built_in and not any(prompt.tools for prompt in plan.own):
        raise UsageError(
            f"the budget tool_calls = {budgets.tool_calls:g} can't be measured: no prompt shows the model a tool",
            hint="Leave the budget out; or take a model whose chat template writes tools, and prompts that have some.",
        )
