"""The constants of the estimates, from ``constants.toml``."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources

from pydantic import Field

from ..config.toml_file import DataFile


class Files(DataFile):
    """Bytes of what isn't weights."""

    module: int = Field(description="Of the program, for each module that computes.")
    program: int = Field(description="Of the program, whatever the model.")
    token: int = Field(description="Of the tokenizer's files, for each entry of the vocabulary, where no file tells.")
    compact: float = Field(description="Of a tokenizer.json there, the share that is left without indentation.")
    papers: int = Field(description="Manifest, templates, card, licence and configuration.")


class Goldens(DataFile):
    """What a model is proven with where it brings no prompts of its own."""

    prompts: int = Field(description="How many.")
    tokens: int = Field(description="Of all prompts together, without the one that is longer than a window.")
    past: int = Field(description="Tokens of that one, past the window.")
    reply: int = Field(description="Tokens of each reply.")
    kept: int = Field(description="Rows of logits that are kept of each while the bundle is made, at most.")
    least: int = Field(description="And at least: where the replies end soon.")
    bytes: int = Field(description="Of the files of all goldens, for each scored position.")


class Memory(DataFile):
    """Bytes of memory that no file backs."""

    base: int = Field(description="Python with torch, transformers and ExecuTorch.")
    token: int = Field(description="Of the tokenizer, for each entry of the vocabulary.")
    checked: int = Field(description="Of what a checkpoint's values are checked in.")
    quantizing: int = Field(description="torchao.")
    piece: int = Field(description="Of each element of the piece of a matrix that is quantized at a time.")
    unreturned: float = Field(description="Of each element, what the C library doesn't give back of those pieces.")
    unreturned_most: int = Field(description="Most that this comes to.")
    lowered: int = Field(description="Of a program that is lowered, for each module that computes.")
    lowered_byte: float = Field(description="Of it, for each byte of the weights as stored.")
    left: int = Field(description="Of what lowering loaded: to the process's end.")
    kept: int = Field(description="Of a lowered program, for each module: to the process's end.")
    run: int = Field(description="Of what runs a program, whatever the program.")


class Seconds(DataFile):
    """Seconds of the stages on a machine of the speed in ``Speed``; ``on`` says how they scale."""

    start: float = Field(description="Imports and the command itself; interpreter.")
    token: float = Field(description="Of opening the tokenizer, for each entry of the vocabulary; interpreter.")
    multiply: float = Field(description="Of a float product, for each operation; multiply.")
    read: float = Field(description="Of each byte of the checkpoint that is looked at; copy.")
    reading: float = Field(description="Rows that a product has on top of its own: reading its matrix; see together.")
    step: float = Field(description="Of each module, token and prompt that the reference follows; interpreter.")
    prompt: float = Field(description="Compiling the template; interpreter.")
    quantize: float = Field(description="Of quantizing, for each element; copy.")
    quantizing: float = Field(description="Of quantizing, whatever the model: imports; interpreter.")
    trace: float = Field(description="Of tracing, for each module; interpreter.")
    lowering: float = Field(description="Of lowering, whatever the model: imports; interpreter.")
    lower: float = Field(description="Of lowering, for each module; interpreter.")
    pack: float = Field(description="Of lowering, for each element of a linear: packed, hashed, written; copy.")
    hash: float = Field(description="Of each byte that is hashed; hash.")
    operation: float = Field(description="Of each int8 operation of the bundle's prefill; multiply.")
    byte: float = Field(description="Of each byte that a decode step of the bundle reads; copy.")
    logit: float = Field(description="Of each logit that is compared; copy.")
    measure: float = Field(description="Starting the process whose speed is measured; interpreter.")
    loaded: float = Field(description="Of each byte of the program that it loads and packs; copy.")
    disk: float = Field(description="Of each byte of the bundle that is flushed to the disk; disk.")


class Speed(DataFile):
    """What the probe found on the machine that the seconds are of, nothing else running."""

    multiply: float = Field(description="Float32 operations per second of a product of two matrices.")
    copy_: float = Field(alias="copy", description="Bytes per second, read and written, of a copy in memory.")
    interpreter: float = Field(description="Rounds per second of an empty loop in Python.")
    hash: float = Field(description="Bytes per second of SHA-256.")
    disk: float = Field(description="Bytes per second that are written and flushed.")


class Error(DataFile):
    """The share by which the real figure may be off; ``export`` refuses only what is over by more."""

    memory: float
    disk: float
    small: int = Field(description="Bytes that it may be off in any case.")


class Constants(DataFile):
    """The whole file. measured: how, on what."""

    measured: str
    files: Files
    goldens: Goldens
    memory: Memory
    seconds: Seconds
    speed: Speed
    error: Error


@functools.cache
def constants() -> Constants:
    """Reads them once."""
    text = resources.files(__package__).joinpath("constants.toml").read_text(encoding="utf-8")
    return Constants.model_validate(tomllib.loads(text))
