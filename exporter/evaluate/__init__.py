"""Benchmarks of language models on a bundle itself, through lm-evaluation-harness."""
