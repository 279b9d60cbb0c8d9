"""The choice of a token, held against transformers' own warpers."""

from __future__ import annotations

import numpy as np
import pytest
from gemcut.chat.sampling import Sampling, chooser, random_seed

VOCABULARY = 50


def logits(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, VOCABULARY).astype(np.float32)


def test_greedy_takes_the_likeliest() -> None:
    assert [chooser(Sampling())(logits(n)) for n in range(9)] == [int(logits(n).argmax()) for n in range(9)]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.0, seed=1),
        Sampling(0.7, top_k=5, seed=2),
        Sampling(1.3, top_p=0.8, seed=3),
        Sampling(2.0, 20, 0.9, seed=4),
        Sampling(1.0, top_p=1e-6, seed=5),
        Sampling(1.0, top_k=VOCABULARY * 2, seed=6),
    ],
)
def test_tokens_are_drawn_from_the_distribution_that_transformers_has(sampling: Sampling) -> None:
    torch = pytest.importorskip("torch")
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    scores = torch.from_numpy(logits(7))[None]
    scores = TemperatureLogitsWarper(sampling.temperature)(None, scores)
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    wanted = torch.softmax(scores, -1)[0].numpy()
    choose, draws = chooser(sampling), 4000
    counts = np.bincount([choose(logits(7)) for _ in range(draws)], minlength=VOCABULARY)
    assert set(np.flatnonzero(counts)) <= set(np.flatnonzero(wanted))
    # Five standard deviations of a binomial count.
    assert np.all(np.abs(counts - draws * wanted) <= 5 * np.sqrt(draws * wanted * (1 - wanted)) + 1e-9)


def test_the_smallest_temperatures_take_the_likeliest() -> None:
    for temperature in (1e-3, 1e-300, 1e-320):
        assert chooser(Sampling(temperature, seed=1))(logits(3)) == int(logits(3).argmax())


def test_a_seed_draws_the_same_tokens_again() -> None:
    def draw(seed: int) -> list[int]:
        choose = chooser(Sampling(1.5, seed=seed))
        return [choose(logits(n)) for n in range(40)]

    assert draw(3) == draw(3) != draw(4)
    assert len({random_seed() for _ in range(5)}) == 5


def test_it_is_said_in_words() -> None:
    assert str(Sampling()) == "greedy"
    assert str(Sampling(0.8, 40, 0.95, 7)) == "temperature 0.8, top-k 40, top-p 0.95, seed 7"
    assert str(Sampling(1.0, seed=7)) == "temperature 1, seed 7"
