"""The decoder as ExecuTorch's runners and delegates take it."""
