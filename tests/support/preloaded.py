"""What a ``gemcut`` imports sooner or later, for a server whose forks need not (``support.command``).

Only imported, nothing is run: a fork has no threads but its own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os

# In the order in which an export comes to them.
MODULES = (
    "gemcut.cli.export",
    "gemcut.cli.validate",
    "gemcut.cli.inspect",
    "gemcut.cli.diff",
    "gemcut.cli.check",
    "gemcut.cli.chat",
    "gemcut.cli.plan",
    "gemcut.cli.doctor",
    "gemcut.pipeline.export",
    "gemcut.pipeline.build",
    "torch",
    "transformers",
    "transformers.models.gemma3.modeling_gemma3",
    "transformers.models.gemma4.modeling_gemma4",
    "torch.export",
    "torch._dynamo",
    "torch._inductor.decomposition",
    "torchao.quantization",
    "executorch.exir",
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "executorch.extension.pybindings.portable_lib",
    "executorch.extension.llm.custom_ops.custom_ops",
    "executorch.kernels.quantized",
    "litert_torch",
    "ai_edge_litert.interpreter",
    "litert_lm",
)


def preload() -> None:
    """Import them, without what they print; one that isn't installed is left out."""
    with open(os.devnull, "w") as nowhere:
        # The descriptors alone: libraries keep sys.stderr as it is when they are imported.
        kept = [os.dup(number) for number in (1, 2)]
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
        try:
            for name in MODULES:
                with contextlib.suppress(Exception):  # a command that needs it says what it lacks
                    importlib.import_module(name)
        finally:
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
    gc.collect()
    gc.freeze()  # a fork's collector need not touch, and so copy, what was imported


preload()
