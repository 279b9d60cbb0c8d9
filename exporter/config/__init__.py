"""TOML that people write: targets, strict reading, and the JSON Schemas of both."""
