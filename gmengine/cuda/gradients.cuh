// What the updates of parameters share: a flat array of numbers per launch, one thread per number, and gradients
// that are refused. Bound by bytes; the formulas are evaluated in `wide`, results and moments rounded to `real`.
#pragma once
#include "common.cuh"

constexpr int BLOCK = 128;

// Leaves the place of the first parameter whose gradient holds NaN or infinity.
__device__ inline void refuse_unless_finite(wide g, int64* first_fault, int place) {
    if (!is_finite(g)) atomicMin(first_fault, int64(place));
}
