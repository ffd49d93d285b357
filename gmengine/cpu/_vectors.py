"""What the loops that emit LLVM vectors themselves have in common."""

import llvmlite.binding as llvm
from llvmlite import ir


def host_vectors():
    """Return (bytes of a vector register, how many there are) of this processor."""
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know the processor
        features = {}
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx"):
        return 32, 16
    return 16, 32 if features.get("neon") else 16


def splat(builder, scalar, n):
    """Return a vector of n lanes that all hold `scalar`."""
    vector = ir.VectorType(scalar.type, n)
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), n), None))
