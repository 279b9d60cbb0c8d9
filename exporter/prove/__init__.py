"""Proof: goldens, fidelity, behaviour, conformance and the gate."""
