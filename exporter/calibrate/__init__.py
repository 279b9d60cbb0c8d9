"""Calibration: what a model's inputs are like on text, and weights that are folded and rounded for them."""
