"""Benchmarks: one file per op and one for a training step; run with ``python -m bench``."""
