// A component beside a regular grid, in units of cells: where it lies, how far it reaches, and what its value at a cell
// is computed from. Cell i of an axis has its centre at coordinate i. cpu/_render_walk.py is the twin.
#pragma once
#include "pairs.cuh"

constexpr int WARP = 32;

// One axis of the grid, and how the forward pass cuts it: into `tiles` tiles of 2^bits cells. Eight bytes each.
struct Axis {
    wide low, step;
    int64 cells, stride, tiles, bits;
};

// First and last tile along one axis that a component's box meets; (1, 0) if it meets no cell.
struct alignas(8) Span {
    int first, last;
};

// y = a (i - nearest) + offset and 2^(lift - y.y) amplitude. Counted from the cell nearest to the mean, a whole number,
// i loses nothing to rounding where a component is large beside its distance. `lift` is 0 but for values of float that
// no float can hold at the mean.
struct alignas(16) Cell {
    int64 first[K], last[K];  // cells of the bounding box, past the last one; all 0 if there is none
    wide nearest[K];
    real offset[K];
    real a[TRI];
    real amplitude, lift;
};
static_assert(sizeof(Cell) == (24 * K + sizeof(real) * (K + TRI + 2) + 15) / 16 * 16, "as in render.py");

// A slope or an offset as a `real` whose square is finite. What is steeper than 2^60 per cell is seen by one cell.
__device__ inline real bounded(wide x) {
    constexpr wide most = 1152921504606846976.0;
    return real(x < most ? (x > -most ? x : -most) : most);
}

__device__ inline int64 clipped(wide value, int64 upper) {
    if (!(value > 0)) return 0;  // NaN too
    return value > wide(upper) ? upper : int64(value);
}

// Fills `cell` for a component that is a Gaussian; all zeros if its box has no cell.
__device__ inline void locate(wide amplitude, const real* mean, const real* cov, const Axis* axes, wide cutoff,
                              Cell& cell) {
    constexpr wide largest = sizeof(real) == 4 ? 1.2676506002282294e30 : 1e300;  // 2^100: sums need room too
    wide a[TRI], beside[K];
    bool meets = true;
    read_symmetric(cov, a);
    whiten(a);
#pragma unroll
    for (int k = 0; k < K; ++k) {
        const Axis axis = axes[k];
        const wide centre = (wide(mean[k]) - axis.low) / axis.step - 0.5;
        const wide reach = sqrt(cutoff / SCALE * wide(cov[k * K + k])) / axis.step;
        cell.first[k] = clipped(ceil(centre - reach), axis.cells);
        cell.last[k] = clipped(floor(centre + reach) + 1, axis.cells);
        meets = meets && cell.first[k] < cell.last[k];
        cell.nearest[k] = floor(centre + 0.5);
        beside[k] = cell.nearest[k] - centre;
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {
        wide offset = 0;
#pragma unroll
        for (int l = 0; l <= k; ++l) {
            const wide steep = ROOT_OF_SCALE * a[packed(k, l)] * axes[l].step;
            offset += steep * beside[l];
            cell.a[packed(k, l)] = bounded(steep);
        }
        cell.offset[k] = bounded(offset);
    }
    const int lift = fabs(amplitude) > largest ? ilogb(amplitude) - (sizeof(real) == 4 ? 100 : 996) : 0;
    cell.lift = real(lift);
    cell.amplitude = real(ldexp(amplitude, -lift));
    if (!meets) cell = Cell{};
}

// How many of at most `slices` slices a component's box is cut into, and along which axis: its longest one.
__device__ inline int slices_of(const Cell& cell, int slices, int& axis) {
    constexpr int64 WORTHWHILE = 2048;  // cells
    int64 cells = 1, longest = 0;
    axis = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
        const int64 extent = cell.last[k] - cell.first[k];
        cells *= extent;
        if (extent > longest) {
            longest = extent;
            axis = k;
        }
    }
    const int64 wanted = min((cells + WORTHWHILE - 1) / WORTHWHILE, longest);
    return int(max(int64(1), min(int64(slices), wanted)));
}
