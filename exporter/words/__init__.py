"""Figures in plain words: what users notice of a bundle that is this far from its float model."""
