// One update by Adam in one pass: 4 numbers read, 3 written. optim/adam.py has the formula.
#include "gradients.cuh"

extern "C" __global__ __launch_bounds__(BLOCK) void adam_update(const real* params,  // [count]
                                                                const real* grads,   // [count]
                                                                const real* first,   // [count]
                                                                const real* second,  // [count]
                                                                real* new_params,    // [count]
                                                                real* new_first,     // [count]
                                                                real* new_second,    // [count]
                                                                int64* first_fault, int place, int count, wide rate,
                                                                wide beta1, wide beta2,
                                                                wide rest1, wide rest2, wide eps) {
    const int64 i = thread_id();
    if (i >= count) return;
    const wide g = grads[i];
    refuse_unless_finite(g, first_fault, place);
    const real m = real(beta1 * first[i] + (1 - beta1) * g), v = real(beta2 * second[i] + (1 - beta2) * (g * g));
    new_first[i] = m;
    new_second[i] = v;
    // rest = 1 - beta^t: what is missing of a moment that started at 0
    new_params[i] = real(params[i] - rate * (m / rest1 / (sqrt(v / rest2) + eps)));
}
