"""Optimisation algorithms that read like their formulas, for minigrad's Tensors."""
