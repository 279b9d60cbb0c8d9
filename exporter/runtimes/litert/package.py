"""Puts together everything that a ``.litertlm`` holds."""

from __future__ import annotations

from pathlib import Path

from ..program import Contents
from .litertlm_writer import pack
from .metadata import engine_template, llm_metadata, renders_tools
from .tokenizer_section import choose_tokenizer

MANIFEST = "manifest.json"


def package(program: Path, contents: Contents, out: Path) -> tuple[str, ...]:
    """Write ``out``; the manifest and the goldens go in as sections that the engine ignores.

    Args:
        program: The linked ``.tflite``.
        contents: What goes in beside it.
        out: The ``.litertlm``.

    Returns:
        What the user should know about the tokenizer.

    Raises:
        UnsupportedError: The chat template uses something that the engine can't do.
    """
    tokenizer, template = contents.tokenizer, contents.template
    start = contents.bos_id
    choice = choose_tokenizer(
        contents.folder,
        tokenizer.backend_tokenizer,
        contents.probes,
        bos=None if start is None else tokenizer.bos_token,
        vocab_size=contents.vocab_size,
    )
    metadata = llm_metadata(
        text_type=contents.text_type,
        context=contents.context,
        stop_ids=contents.stop_ids,
        start=start,
        pad=tokenizer.pad_token_id,
        template=engine_template(template, tokenizer, start=start, spacing=choice.spacing),
        tools=renders_tools(template),
        generation=contents.generation,
        vocabulary=tokenizer.get_vocab(),
    )
    extras: dict[str, bytes | Path] = {MANIFEST: contents.manifest, **contents.files}
    pack(out, program=program, tokenizer=choice, metadata=metadata, extras=extras)
    return choice.notes
