"""The decoder in the form that ExecuTorch's runners and delegates take."""
