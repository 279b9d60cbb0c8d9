"""A conversation with a bundle: turns, sampling, and the tools that the model may call."""
