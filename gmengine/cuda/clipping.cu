// The joint norm of all gradients, and gradients scaled by it. Every gradient is read twice and written once.
#include "gradients.cuh"

// Squares of numbers beyond LARGE or below 1 / LARGE may overflow or vanish even in float64: they are summed in
// units of their own (Blue, 1978), of which the largest that occurs counts.
constexpr wide LARGE = 0x1p500, UNIT = 0x1p600, INVERSE = 0x1p-600;

// Each block sums a share of one gradient.
extern "C" __global__ __launch_bounds__(BLOCK) void clipping_squares(const real* grads,  // [count]
                                                                     wide* sums,         // [parts, 3]
                                                                     int64* first_fault, int place, int count,
                                                                     int first_part) {
    __shared__ wide scratch[BLOCK];
    wide squares[3] = {};  // of large, medium and small numbers
    for (int64 i = thread_id(); i < count; i += int64(gridDim.x) * BLOCK) {
        const wide g = grads[i], size = fabs(g);
        refuse_unless_finite(g, first_fault, place);
        const wide large = g * INVERSE, small = g * UNIT;
        if (size > LARGE) {
            squares[0] += large * large;
        } else if (size < 1 / LARGE) {
            squares[2] += small * small;
        } else {
            squares[1] += g * g;  // NaN comes here
        }
    }
    block_sums(squares, scratch);
    if (threadIdx.x < 3) sums[(first_part + int64(blockIdx.x)) * 3 + threadIdx.x] = squares[threadIdx.x];
}

// One block.
extern "C" __global__ __launch_bounds__(BLOCK) void clipping_norm(const wide* sums,  // [parts, 3]
                                                                  wide* norm,        // [1]
                                                                  wide* factor,      // [1]
                                                                  int parts, wide max_norm) {
    __shared__ wide scratch[BLOCK];
    wide squares[3] = {};
    for (int64 s = threadIdx.x; s < parts; s += BLOCK)
        for (int k = 0; k < 3; ++k) squares[k] += sums[3 * s + k];
    block_sums(squares, scratch);
    if (threadIdx.x > 0) return;
    wide found = sqrt(squares[1] + squares[2] * INVERSE * INVERSE);
    if (squares[0] > 0) {
        found = sqrt(squares[0] + squares[1] * INVERSE * INVERSE) * UNIT;
    } else if (squares[1] == 0) {
        found = sqrt(squares[2]) * INVERSE;
    }
    norm[0] = found;
    factor[0] = found <= max_norm ? 1 : max_norm / found;
}

extern "C" __global__ __launch_bounds__(BLOCK) void clipping_scale(const real* grads,   // [count]
                                                                   const wide* factor,  // [1]
                                                                   real* out,           // [count]
                                                                   int count) {
    const int64 i = thread_id();
    if (i < count) out[i] = real(grads[i] * factor[0]);
}
