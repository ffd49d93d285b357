// Why mixtures cannot be reduced: kernels report the fault that gmengine.cpu would find first, _em_faults.py raises it.
#pragma once
#include "common.cuh"

enum EmFault : int {
    EM_SOUND = 0,
    EM_NON_FINITE = 1,
    EM_NOT_DEFINITE = 2,
    EM_OTHER_SIGN = 3,
    EM_TWO_SIGNS = 4,
    EM_MERGED = 5,
};
enum EmStage : int { LISTING = 0, LOADING = 1, RESULT = 2 };

// Keeps the fault of the first stage, there of the first mixture, which reports one. component: -1 if it is of none.
__device__ inline void report_fault(int64* first_fault, EmStage stage, int64 m, int N, int component,
                                    EmFault fault) {
    if (fault != EM_SOUND) atomicMin(first_fault, (int64(stage) << 60) + (m * (N + 1) + component + 1) * 8 + fault);
}
