"""Compile the serial parts of a large kernel: as `_compile.helper`, but only other compiled code can call them.

Numba gives every function two wrappers for callers outside; without them a kernel of 40 parts compiles in
four fifths of the time.
"""

from numba import njit

from gmengine.cpu._compile import FLAGS

serial = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **FLAGS)
