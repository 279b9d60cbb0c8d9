"""Patches of ExecuTorch 1.5, one module each, bound to the version they were read in."""
