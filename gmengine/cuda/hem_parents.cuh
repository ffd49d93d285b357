// Which components of a level become parents, and how far those are that they may take; cpu/_hem_plan.py is the twin.
#pragma once
#include "em_moments.cuh"

constexpr int REDUCTION = 3;
constexpr wide KL_BOUND = 2.88539008177792681472;  // alpha^2 / 2 in bits, alpha = 2

// How many of the parents are positive: in proportion to the mass, but some of each sign that there is.
__device__ inline int share_parents(const wide* mass, int positive, int present, int number, wide eps) {
    const wide share = number * (mass[0] / (mass[0] + mass[1]));
    const wide rounded = floor(share + 0.5 + 64.0 * eps * number);
    const int wanted = rounded > 0 ? rounded < number ? int(rounded) : number : 0;
    const int least = positive == present ? number : min(positive, 1);
    const int most = min(positive, positive == present ? number : number - 1);
    return min(max(max(wanted, least), number - (present - positive)), most);
}

// The mass of what is not taken, which is -1.
__device__ inline wide mass_left(const wide* left, int start, int stop) {
    wide mass = 0;
    for (int p = start; p < stop; ++p) mass += left[p] < 0 ? 0 : left[p];
    return mass;
}

// Writes `number` of the places start, ..., stop - 1: those that hold the equal-mass quantiles (k + 1/2) / number. A
// quantile at the border of two components is held by the first. If one component holds several, quantiles of what is
// left find the missing ones, and so on. Should a mass be no number, the first ones left take their place.
__device__ inline void choose_parents(wide* left, int start, int stop, int number, wide eps, int* parents) {
    for (int missing = number; missing > 0;) {
        const wide mass = mass_left(left, start, stop), tie = 64.0 * eps * mass;
        wide cumulated = 0, quantile = 0.5 / missing * mass;
        int k = 0, found = 0;
        for (int p = start; p < stop; ++p) {
            if (left[p] < 0) continue;
            cumulated += left[p];
            const int before = k;
            while (k < missing && quantile <= cumulated + tie) quantile = (++k + 0.5) / missing * mass;
            if (k == before) continue;
            left[p] = -1;
            ++found;
        }
        for (int p = start; p < stop && found == 0 && missing > 0; ++p)
            if (!(left[p] < 0)) {
                left[p] = -1;
                --missing;
            }
        missing -= found;
    }
    for (int p = start; p < stop; ++p)
        if (left[p] < 0) *parents++ = p;
}

// The mean over a component of its own log2 density, but for the constant of `log_likelihood`.
__device__ inline wide own_log_density(const wide (&c)[TRI]) {
    wide inverse[TRI], product = 1;
    for (int q = 0; q < TRI; ++q) inverse[q] = c[q];
    whiten(inverse);
    for (int k = 0; k < K; ++k) product *= inverse[packed(k, k)];
    return log2(product) - SCALE * K;
}
