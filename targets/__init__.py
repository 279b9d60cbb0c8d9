"""One TOML file per target: data only."""
