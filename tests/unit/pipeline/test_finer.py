"""A model that fails its recipe's gate goes on to the finer one, if no recipe was asked for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from gemcut.errors import GateError, UnsupportedError
from gemcut.pipeline import export as pipeline
from gemcut.pipeline.failures import GateFailed, TooSensitive
from gemcut.pipeline.request import ExportRequest
from gemcut.quantize.recipe import finer_than, list_recipes, load_recipe

from tests.support.progress import Watched


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[ExportRequest]:
    """The attempts that were made; each but the third fails."""
    made: list[ExportRequest] = []

    def attempt(request: ExportRequest, clock: Any) -> tuple[str, ...]:
        made.append(request)
        if request.finer < 2:
            raise TooSensitive("int4", 0.2, 0.1)
        return ("published",)

    monkeypatch.setattr(pipeline, "_export", attempt)
    return made


def test_it_goes_on_until_a_recipe_passes_and_says_so(attempts: list[ExportRequest]) -> None:
    watched = Watched()
    assert pipeline.export(ExportRequest(target="android-arm64"), watched) == ("published",)
    assert [one.finer for one in attempts] == [0, 1, 2]
    assert any("0.2 nats" in note and "finer recipe" in note for note in watched.notes)


def test_a_recipe_that_was_asked_for_is_kept(attempts: list[ExportRequest]) -> None:
    with pytest.raises(GateError):
        pipeline.export(ExportRequest(target="android-arm64", recipe="int4"), Watched())
    assert len(attempts) == 1


@pytest.mark.parametrize(
    ("figures", "tried"), [(("mean_kl", "tool_calls"), 3), (("bos",), 1), (("mean_kl", "template"), 1)], ids=str
)
def test_what_no_recipe_cures_is_tried_once(
    figures: tuple[str, ...], tried: int, attempts: list[ExportRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = SimpleNamespace(
        violations=[SimpleNamespace(figure=figure, measured=0.2) for figure in figures], reasons=lambda: list(figures)
    )

    def fail(request: ExportRequest, clock: Any) -> Any:
        attempts.append(request)
        raise GateFailed(verdict, "executorch", ())  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "_export", fail)
    with pytest.raises(GateError):
        pipeline.export(ExportRequest(target="android-arm64"), Watched())
    assert len(attempts) == tried


def test_the_last_one_fails_for_good(attempts: list[ExportRequest], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: ExportRequest, clock: Any) -> Any:
        attempts.append(request)
        raise TooSensitive("int8", 0.2, 0.1)

    monkeypatch.setattr(pipeline, "_export", fail)
    with pytest.raises(GateError):
        pipeline.export(ExportRequest(target="android-arm64"), Watched())
    assert len(attempts) == 3, "int4, balanced and int8"


def test_each_recipe_leads_to_one_with_a_stricter_gate() -> None:
    assert [one.name for one in finer_than(load_recipe("small"))] == ["int4", "balanced", "int8"]
    for name in list_recipes():
        chain = [load_recipe(name), *finer_than(load_recipe(name))]
        limits = [one.gate.mean_kl for one in chain if one.gate.mean_kl is not None]
        assert limits == sorted(limits, reverse=True)


def past(figure: str, measured: float) -> GateFailed:
    """A bundle past one limit of its gate."""
    violation = SimpleNamespace(figure=figure, measured=measured)
    return GateFailed(SimpleNamespace(violations=[violation], reasons=lambda: [figure]), "executorch", ())  # type: ignore[arg-type]


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The divergences that were searched for; nothing is measured."""
    found: list[float | None] = []

    def within(request: ExportRequest, clock: Any, nats: float | None) -> ExportRequest:
        found.append(nats)
        return replace(request, recipe=f"{len(found)}.toml", max_size=None, max_kl=None)

    monkeypatch.setattr("gemcut.pipeline.attempts.within_limits", within)
    return found


@pytest.mark.parametrize(
    ("nats", "wanted"),
    [
        ((0.0625, 0.0455), (0.05, 0.05 * 0.9 * 0.8, 0.05 * 0.9 * 0.8 * 0.9)),
        ((0.06,) * 9, None),
    ],
)
def test_a_bundle_past_its_divergence_is_searched_for_again_with_less(
    nats: tuple[float, ...],
    wanted: tuple[float, ...] | None,
    searches: list[float | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = list(nats)

    def fail(request: ExportRequest, clock: Any) -> Any:
        if not left:
            return (request.recipe,)
        raise past("mean_kl", left.pop(0))

    monkeypatch.setattr(pipeline, "_export", fail)
    request, watched = ExportRequest(target="android-arm64", max_kl=0.05), Watched()
    if wanted is None:
        with pytest.raises(GateError):
            pipeline.export(request, watched)
        assert len(searches) == 3
        return
    assert pipeline.export(request, watched) == ("3.toml",)
    assert searches == pytest.approx(wanted)
    assert any("searching for a mix of 0.036 nats" in note for note in watched.notes)


def test_another_figure_past_its_limit_is_no_reason_to_search_again(
    searches: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: ExportRequest, clock: Any) -> Any:
        raise past("p99_kl", 2.0)

    monkeypatch.setattr(pipeline, "_export", fail)
    with pytest.raises(GateFailed):
        pipeline.export(ExportRequest(target="android-arm64", max_kl=0.05), Watched())
    assert searches == [0.05]


def test_if_no_mix_is_better_the_gate_is_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def within(request: ExportRequest, clock: Any, nats: float | None) -> ExportRequest:
        if nats != 0.05:
            raise UnsupportedError("0.04 nats aren't possible")
        return replace(request, recipe="1.toml")

    def fail(request: ExportRequest, clock: Any) -> Any:
        raise past("mean_kl", 0.06)

    monkeypatch.setattr("gemcut.pipeline.attempts.within_limits", within)
    monkeypatch.setattr(pipeline, "_export", fail)
    watched = Watched()
    with pytest.raises(GateFailed):
        pipeline.export(ExportRequest(target="android-arm64", max_kl=0.05), watched)
    assert any("no mix is better" in note for note in watched.notes)


def test_a_size_alone_is_searched_for_once(searches: list[float | None], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: ExportRequest, clock: Any) -> Any:
        raise TooSensitive("mixed", 0.2, 0.1)

    monkeypatch.setattr(pipeline, "_export", fail)
    with pytest.raises(GateError):
        pipeline.export(ExportRequest(target="android-arm64", max_size=1000), Watched())
    assert searches == [None]
