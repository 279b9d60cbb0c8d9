from dataclasses import replace

import numpy as np
import pytest
from gemcut.errors import ConformanceError
from gemcut.prove.conformance import INDEPENDENT, SHARE, compare, share_of, tolerance_of
from gemcut.prove.golden import Recorded
from gemcut.prove.run import run_bundle

from tests.support.table_model import STOP, Floats, World


def _scaled(scale: float, seed: int = 0) -> object:
    def change(logits: Floats, ids: list[int]) -> Floats:
        noise = np.random.default_rng([seed, len(ids)]).normal(0, 1, len(logits))
        return (logits + scale * noise).astype(np.float32)

    return change


def _run(world: World, change: object = None) -> tuple[Recorded, ...]:
    return run_bundle(world.runner(change), world.goldens, STOP, world.codec.decode)  # type: ignore[arg-type]


def test_the_same_machine_conforms_exactly(world: World) -> None:
    host = _run(world, _scaled(0.2))
    found = compare(world.goldens, host, _run(world, _scaled(0.2)))
    assert found.passed
    assert found.max_logprob_diff == found.mean_kl == 0
    assert all(d.first_step is None for d in found.differences)


def test_a_tenth_of_the_quantization_noise_conforms_and_all_of_it_does_not(world: World) -> None:
    host = _run(world, _scaled(0.2))

    def other(share: float) -> object:
        first, second = _scaled(0.2), _scaled(0.2 * share, seed=9)
        return lambda logits, ids: second(first(logits, ids), ids)  # type: ignore[operator]

    near = compare(world.goldens, host, _run(world, other(0.1)))
    assert near.passed, near.failures
    assert 0 < near.mean_kl < near.tolerance.kl
    far = compare(world.goldens, host, _run(world, other(1.5)))
    assert not far.passed
    assert "tolerance" in far.failures[0]


def test_float32_is_held_to_the_floor(world: World) -> None:
    host = _run(world)
    tolerance = tolerance_of(world.goldens, host)
    assert tolerance.logprob == 1e-3
    assert compare(world.goldens, host, _run(world, _scaled(1e-5))).passed
    assert not compare(world.goldens, host, _run(world, _scaled(1e-2))).passed


def test_damage_at_one_position_is_named(world: World) -> None:
    golden = world.goldens[2]
    at = golden.first + 5

    def change(logits: Floats, ids: list[int]) -> Floats:
        return -logits if tuple(ids) == golden.ids[: at + 1] else logits

    found = compare(world.goldens, _run(world), _run(world, change))
    assert f"prompt '{golden.prompt.id}', position {at}" in found.failures[0]


def _part(world: World, margin: float) -> tuple[tuple[object, ...], Recorded, Recorded]:
    """A golden whose reply had this margin at step 2, and two runs that part there."""
    golden = world.goldens[1]
    margins = golden.margin.copy()
    margins[2] = margin
    golden = replace(golden, margin=margins)
    host = _run(world)[1]
    other = (*host.greedy_ids[:2], 200, *host.greedy_ids[3:])
    return (golden,), host, replace(host, greedy_ids=other)


def test_a_tie_that_breaks_the_other_way_is_no_failure_and_a_clear_choice_is(world: World) -> None:
    goldens, host, here = _part(world, 0.0005)
    tie = compare(goldens, [host], [here])  # type: ignore[arg-type]
    assert tie.passed
    assert (tie.differences[0].first_step, tie.differences[0].tie) == (2, True)
    assert tie.differences[0].margin == pytest.approx(0.0005)
    goldens, host, here = _part(world, 3.0)
    clear = compare(goldens, [host], [here])  # type: ignore[arg-type]
    assert not clear.passed
    assert "differs from token 2 on, where the margin was 3 nats" in clear.failures[0]


def test_a_reply_that_is_cut_off_is_a_failure(world: World) -> None:
    goldens, host, _ = _part(world, 3.0)
    cut = compare(goldens, [host], [replace(host, greedy_ids=host.greedy_ids[:3])])  # type: ignore[arg-type]
    assert "differs from token 3 on" in cut.failures[0]


def test_a_parting_after_the_host_left_the_float_models_path_is_reported_only(world: World) -> None:
    goldens, host, here = _part(world, 3.0)
    left = (201, *host.greedy_ids[1:])
    found = compare(  # type: ignore[arg-type]
        goldens, [replace(host, greedy_ids=left)], [replace(here, greedy_ids=(201, *here.greedy_ids[1:]))]
    )
    assert found.passed
    assert (found.differences[0].first_step, found.differences[0].margin) == (2, None)


def test_a_machine_whose_logits_are_not_numbers_does_not_conform(world: World) -> None:
    host = _run(world, _scaled(0.2))
    broken = _run(world, lambda logits, ids: np.full_like(logits, np.nan))
    assert not compare(world.goldens, host, broken).passed
    with pytest.raises(ConformanceError, match="not of the same goldens"):
        compare(world.goldens, host, host[:-1])


@pytest.mark.parametrize(
    ("schemes", "share"),
    [
        ((("int8", "float32"), ("int8", "int8-dynamic")), INDEPENDENT),
        ((("int8", "float32"), ("int4", "int8-dynamic")), SHARE),
        ((("float32", "float32"),), SHARE),
        ((("int8", "float32"),), SHARE),
    ],
)
def test_the_share_of_the_noise_follows_the_scheme(schemes: tuple[tuple[str, str], ...], share: float) -> None:
    assert share_of(schemes) == share


def test_a_tolerance_is_that_share_of_the_noise_and_of_its_square_in_the_kl(world: World) -> None:
    host = _run(world, _scaled(0.4))
    half, whole = tolerance_of(world.goldens, host), tolerance_of(world.goldens, host, INDEPENDENT)
    assert whole.logprob / half.logprob == pytest.approx(INDEPENDENT / SHARE)
    assert whole.kl / half.kl == pytest.approx((INDEPENDENT / SHARE) ** 2)


def test_two_machines_with_half_of_their_roundings_in_common_conform_where_weights_have_eight_bits(
    world: World,
) -> None:
    """Each as far from the float model as the other: the noise of the host allows for that, and half of it doesn't."""

    def other(logits: Floats, ids: list[int]) -> Floats:
        common, own = _scaled(0.1), _scaled(0.2 * 0.75**0.5, seed=9)
        return own(common(logits, ids), ids)  # type: ignore[operator, no-any-return]

    host, here = _run(world, _scaled(0.2)), _run(world, other)
    assert not compare(world.goldens, host, here).passed
    assert compare(world.goldens, host, here, INDEPENDENT).passed
