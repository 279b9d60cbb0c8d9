"""The constants of the estimates, from ``constants.toml``."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources

from pydantic import Field

from ..config.toml_file import DataFile


class Files(DataFile):
    """Bytes of everything but weights."""

    module: int = Field(description="Bytes of the program, for each module that computes.")
    program: int = Field(description="Bytes of the program, whatever the model.")
    token: int = Field(
        description="Bytes of the tokenizer's files for each entry of the vocabulary, if there is no file."
    )
    compact: float = Field(description="The share of an existing tokenizer.json that is left without indentation.")
    papers: int = Field(description="Bytes of manifest, templates, card, licence and configuration.")
    compressed: float = Field(description="The share of the tokenizer's files that is left when they are compressed.")


class Goldens(DataFile):
    """What a model is proven with if it has no prompts of its own."""

    prompts: int = Field(description="The number of prompts.")
    tokens: int = Field(description="Tokens of all prompts together, without the one that is longer than a window.")
    past: int = Field(description="Tokens of that one beyond the window.")
    reply: int = Field(description="Tokens of each reply.")
    kept: int = Field(description="The most rows of logits that are kept of each while the bundle is made.")
    least: int = Field(description="The fewest rows that are kept of each: if the replies end soon.")
    bytes: int = Field(description="Bytes of the files of all goldens, for each scored position.")


class Memory(DataFile):
    """Bytes of memory that no file backs."""

    base: int = Field(description="Python with torch, transformers and ExecuTorch.")
    token: int = Field(description="The tokenizer, for each entry of the vocabulary.")
    checked: int = Field(description="The buffer in which a checkpoint's values are checked.")
    quantizing: int = Field(description="torchao.")
    piece: int = Field(description="For each element of the piece of a matrix that is quantized at a time.")
    unreturned: float = Field(description="For each element, what the C library doesn't give back of those pieces.")
    unreturned_most: int = Field(description="The most that this amounts to.")
    lowered: int = Field(description="A program that is being lowered, for each module that computes.")
    lowered_byte: float = Field(description="A program that is being lowered, for each byte of the weights as stored.")
    left: int = Field(description="What lowering loaded, which stays until the process ends.")
    kept: int = Field(description="A lowered program, for each module, which stays until the process ends.")
    calibrated: float = Field(
        description="What calibration holds of a token, for each byte of its inputs and outputs in a layer."
    )
    run: int = Field(description="What runs a program, whatever the program.")
    native_token: int = Field(description="Bytes of LiteRT-LM's own tokenizer, for each entry of the vocabulary.")
    cache_twice: float = Field(
        description="The share of the KV cache that LiteRT-LM holds twice: 0.9 of Gemma 3 270M's, at 2048 and at 8192, "
        "and 0.5 of SmolLM2 135M's, in the second start of each."
    )


class Seconds(DataFile):
    """Seconds of the stages at the speed in ``Speed``; each description ends with the figure that they scale with."""

    start: float = Field(description="Imports and the command itself; interpreter.")
    token: float = Field(description="Opening the tokenizer, for each entry of the vocabulary; interpreter.")
    multiply: float = Field(description="A float product, for each operation; multiply.")
    read: float = Field(description="Each byte of the checkpoint that is checked; copy.")
    reading: float = Field(description="Rows that are added to a product's own for reading its matrix; multiply.")
    step: float = Field(description="Each module, token and prompt of the reference; interpreter.")
    prompt: float = Field(description="Compiling the template; interpreter.")
    quantize: float = Field(description="Quantizing, for each element; copy.")
    quantizing: float = Field(description="Quantizing, whatever the model: imports; interpreter.")
    trace: float = Field(description="Tracing, for each module; interpreter.")
    lowering: float = Field(description="Lowering, whatever the model: imports; interpreter.")
    lower: float = Field(description="Lowering, for each module; interpreter.")
    pack: float = Field(description="Lowering, for each element of a linear: packed, hashed, written; copy.")
    calibrate: float = Field(
        description="Each operation of the calibration text's products and of its second moments; multiply."
    )
    hash: float = Field(description="Each byte that is hashed; hash.")
    operation: float = Field(description="Each int8 operation of the bundle's prefill; multiply.")
    byte: float = Field(description="Each byte that a decode step of the bundle reads; copy.")
    logit: float = Field(description="Each logit that is compared; copy.")
    measure: float = Field(description="Starting the process whose speed is measured; interpreter.")
    loaded: float = Field(description="Each byte of the program that this process loads and packs; copy.")
    disk: float = Field(description="Each byte of the bundle that is flushed to the disk; disk.")


class Speed(DataFile):
    """What the probe found on the machine where the seconds were measured, with nothing else running."""

    multiply: float = Field(description="Float32 operations per second of a product of two matrices.")
    copy_: float = Field(alias="copy", description="Bytes per second, read and written, of a copy in memory.")
    interpreter: float = Field(description="Rounds per second of an empty loop in Python.")
    hash: float = Field(description="Bytes per second of SHA-256.")
    disk: float = Field(description="Bytes per second that are written and flushed.")


class Error(DataFile):
    """How far an estimate may be off; ``export`` refuses only what is over by more.

    Attributes:
        memory: The share by which an estimate of memory may be off.
        disk: The share by which an estimate of disk may be off.
        small: Bytes by which either may be off in any case.
    """

    memory: float
    disk: float
    small: int = Field(description="Bytes by which either may be off in any case.")


class Constants(DataFile):
    """The whole file.

    Attributes:
        measured: How and on what machine the constants were measured.
        files: Bytes of everything but weights.
        goldens: What a model is proven with.
        memory: Bytes of memory.
        seconds: Seconds of the stages.
        speed: The speed of the machine that the seconds are for.
        error: How far an estimate may be off.
    """

    measured: str
    files: Files
    goldens: Goldens
    memory: Memory
    seconds: Seconds
    speed: Speed
    error: Error


@functools.cache
def constants() -> Constants:
    """Return the constants, which are read once."""
    text = resources.files(__package__).joinpath("constants.toml").read_text(encoding="utf-8")
    return Constants.model_validate(tomllib.loads(text))
