"""Bundles: the manifest, packing, opening, hashes, reproducible bytes."""
