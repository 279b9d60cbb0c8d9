"""Bundles: their manifest, and how they are packed reproducibly, opened and checked."""
