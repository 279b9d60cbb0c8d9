"""Every family of language models that transformers can build: in parity with it in ExecuTorch's runtime, or refused.

The most used ones in every run, all of them in ``make test-all``; docs/reference/families.md has what that found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gemcut.compat.oldest import oldest_loading
from gemcut.errors import EXIT_UNSUPPORTED, GemcutError, UnsupportedError
from gemcut.modeling.supported import refuse_unsupported
from gemcut.quantize.recipe import load_recipe
from gemcut.runtimes import get_runtime
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.support.executorch_programs import LENGTH, some_ids
from tests.support.families_cases import WINDOW
from tests.support.family_sweep import small_config
from tests.support.parity_table import ROWS, Row, noted, noted_refusal

LIMIT = 1e-3
CONTEXT, CHUNK = 96, 8
# Whole chunks, parts and single steps, across the ring's end and back.
PIECES = (8, 5, 1, 8, 8, 3, 1, 1, 8, 8, 8, *[1] * 11)
# Qwen3 is among the cases of test_graph_parity.
MOST_USED = ("llama", "mistral", "qwen2", "phi3", "smollm3", "granite", "olmo2")
OTHERS = sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - {*MOST_USED})


def refusal(config: Any) -> str | None:
    """Why an export of this model would be refused at its start; None if it would begin. Any other error is a bug."""
    try:
        get_runtime("executorch").exporter.check(config, load_recipe("float32"), ("xnnpack",))
    except GemcutError as error:
        return error.message
    return None


def compare(kind: str, config: Any, make: Callable[..., Any], request: pytest.FixtureRequest) -> Row:
    """Two conversations in uneven pieces past three windows; the second starts in the first one's cache."""
    import torch

    made = make(config, context=CONTEXT, chunk=CHUNK)
    oldest = oldest_loading(made.program, (), ()) or "none known"
    row = Row(0, 0.0, 0, len(made.lowered.operators), made.lowered.delegates["XnnpackBackend"], made.seconds, oldest)
    runner = get_runtime("executorch").engine.open(made.program)
    for seed in (1, 2):
        ids = some_ids(seed)
        with torch.inference_mode():
            wanted = made.float_model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
            other = made.float_model(input_ids=torch.tensor([[ids[0] + 1, *ids[1:]]]), use_cache=False).logits[0]
        assert np.abs(wanted - other.numpy())[1:WINDOW].max() > 5 * LIMIT, "the model can't tell positions apart"
        at = 0
        for piece in PIECES:
            got = runner.prefill(ids[at : at + piece], at) if piece > 1 else runner.step(ids[at], at)
            at += piece
            row.take(got, wanted[at - 1])
    runner.close()
    request.node.user_properties.append(noted(kind, ROWS.setdefault(kind, row)))
    return row


@pytest.mark.parametrize("kind", MOST_USED)
def test_the_most_used_families_are_in_parity(
    kind: str, make: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    assert LENGTH > 3 * WINDOW
    config = small_config(kind)
    assert refusal(config) is None
    row = compare(kind, config, make, request)
    assert row.worst <= LIMIT
    assert row.agreed == row.compared == 2 * len(PIECES)


@pytest.mark.large
@pytest.mark.parametrize("kind", OTHERS)
def test_every_other_family_is_in_parity_or_refused(
    kind: str, make: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    try:
        config = small_config(kind)
    except Exception as error:
        pytest.skip(f"transformers makes no small {kind} by default: {error}")
    reason = refusal(config)
    if reason is None:
        try:
            row = compare(kind, config, make, request)
            assert row.worst <= LIMIT
            assert row.agreed == row.compared == 2 * len(PIECES)
            return
        except UnsupportedError as error:  # by the names of its parts, before any weight is read
            reason = error.message
    request.node.user_properties.append(noted_refusal(kind, reason))


def test_stablelm_and_lfm2_are_refused_with_their_reason() -> None:
    with pytest.raises(UnsupportedError, match="custom attention") as caught:
        get_runtime("executorch").exporter.check(small_config("stablelm"), load_recipe("float32"), ("xnnpack",))
    assert caught.value.exit_code == EXIT_UNSUPPORTED
    lfm2 = small_config("lfm2")
    lfm2.layer_types = ["conv", "full_attention", "conv"]
    with pytest.raises(UnsupportedError, match="layers of the type 'conv'"):
        refuse_unsupported(lfm2, "executorch")
