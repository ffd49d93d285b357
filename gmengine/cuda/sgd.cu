// One update by gradient descent in one pass. optim/sgd.py has the formula.
#include "gradients.cuh"

extern "C" __global__ __launch_bounds__(BLOCK) void sgd_update(const real* params,    // [count]
                                                               const real* grads,     // [count]
                                                               const real* velocity,  // [count] if momentum is not 0
                                                               real* new_params,      // [count]
                                                               real* new_velocity,    // [count] if momentum is not 0
                                                               int64* first_fault, int place, int count, wide rate,
                                                               wide momentum) {
    const int64 i = thread_id();
    if (i >= count) return;
    wide step = grads[i];
    refuse_unless_finite(step, first_fault, place);
    if (momentum != 0) {
        const real v = real(momentum * velocity[i] + step);
        new_velocity[i] = v;
        step = v;
    }
    new_params[i] = real(params[i] - rate * step);
}
