"""Verbs on mixtures: contract, shapes and differentiation rule. One op, one file."""
