"""Quantization: recipes, schemes, and the arithmetic of rounding."""
