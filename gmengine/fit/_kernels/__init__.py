"""What Numba compiles for the fits; imported on the first fit, not with the package."""
