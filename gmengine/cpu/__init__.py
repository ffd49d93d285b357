"""Numba kernels: plain loops that read as the specification. They know arrays only."""
