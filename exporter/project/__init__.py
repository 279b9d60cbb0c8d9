"""An app's repository: ``gemcut.toml`` lists its bundles, ``gemcut.lock`` says what they were made from."""
