"""A radix tree over the components of one mixture: where they lie, as integers.

A node is named by one integer, a *reference*: ``v >= 0`` is the inner node `v`, ``~p < 0`` is the leaf at
position `p` of the Morton order. Inner nodes are numbered in preorder, so that a subtree of L leaves is
the contiguous range ``v, ..., v + L - 2``, and to count down from its end is to climb from its leaves.
"""

import numpy as np

from gmengine.cpu._compile import helper

_ONE = np.uint64(1)
_SIGN = np.uint64(63)
_INDEX_BITS = np.uint64(32)
_INDEX_MASK = np.uint64(0xFFFFFFFF)
_BYTE = np.uint64(255)
_MORTON_BITS = 30
_STACK = 66  # a key has 63 bits that can differ, so no path is longer


@helper
def bounding_box(weights, means, low, high, centre):
    """Write the box of the present means and its centre; return its longest side, 0 if nothing is present."""
    for a in range(low.shape[0]):
        low[a], high[a] = np.inf, -np.inf
    for i in range(weights.shape[0]):
        if weights[i] != 0.0:
            for a in range(low.shape[0]):
                low[a] = min(low[a], means[i, a])
                high[a] = max(high[a], means[i, a])
    side = 0.0
    for a in range(low.shape[0]):
        side = max(side, high[a] - low[a])
        centre[a] = 0.5 * low[a] + 0.5 * high[a]
    return side


@helper
def _spread_bits(bits, axes):
    """Return, for every number of so many bits, the number with its bits `axes` places apart."""
    spread = np.zeros(1 << bits, np.uint64)
    for b in range(bits):
        for j in range(1 << b):
            spread[(1 << b) + j] = spread[j] | _ONE << np.uint64(b * axes)
    return spread


@helper
def morton_keys(weights, means, low, high, eps, keys, dims):
    """Write one unique key per present component, (negative, Morton code, index); return how many.

    A coordinate that is a multiple of a cell's side must not fall into the cell below by rounding, hence
    the small push upwards.
    """
    bits = 10 if len(dims) <= 3 else max(1, _MORTON_BITS // len(dims))
    axes = min(len(dims), _MORTON_BITS)
    side = 1 << bits
    spread = _spread_bits(bits, axes)
    count = 0
    for i in range(weights.shape[0]):
        if weights[i] == 0.0:
            continue
        code = np.uint64(0)
        for a in range(axes):
            extent = high[a] - low[a]
            t = (means[i, a] - low[a]) / extent if extent > 0.0 else 0.0
            cell = max(0, min(side - 1, int(np.floor(side * t + side * 64.0 * eps))))
            code = code << _ONE | spread[cell]
        negative = _ONE << _SIGN if weights[i] < 0.0 else np.uint64(0)
        keys[count] = negative | code << _INDEX_BITS | np.uint64(i)
        count += 1
    return count


@helper
def _sort(keys, count):
    """Sort keys whose indices ascend: by sign and code, byte after byte, equals staying in their order."""
    source, target = keys[:count], np.empty(count, np.uint64)
    starts = np.empty(257, np.int64)
    for byte in range(4):
        shift = _INDEX_BITS + np.uint64(8 * byte)
        starts[:] = 0
        for p in range(count):
            starts[np.int64(source[p] >> shift & _BYTE) + 1] += 1
        for digit in range(256):
            starts[digit + 1] += starts[digit]
        for p in range(count):
            digit = np.int64(source[p] >> shift & _BYTE)
            target[starts[digit]] = source[p]
            starts[digit] += 1
        source, target = target, source


@helper
def _highest_bit(x):
    x |= x >> np.uint64(1)
    x |= x >> np.uint64(2)
    x |= x >> np.uint64(4)
    x |= x >> np.uint64(8)
    x |= x >> np.uint64(16)
    x |= x >> np.uint64(32)
    return x ^ x >> np.uint64(1)


@helper
def _first_with(keys, start, stop, bit):
    """Return the first of the places start < p < stop of sorted keys that has `bit`; the last one has it."""
    length = stop - start - 1
    while length > 1:
        half = length >> 1
        start += 0 if keys[start + half] & bit else half
        length -= half
    return start + 1


@helper
def _radix_tree(keys, start, stop, root, children, leaves):
    """Write the tree of the sorted ``keys[start:stop]`` from node `root` on.

    To part a range at the highest bit in which its keys differ is to make a node.
    """
    stack = np.empty((_STACK, 3), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = root, start, stop
    top = 1 if stop - start > 1 else 0
    while top > 0:
        top -= 1
        v, lo, hi = stack[top, 0], stack[top, 1], stack[top, 2]
        middle = _first_with(keys, lo, hi, _highest_bit(keys[lo] ^ keys[hi - 1]))
        leaves[v] = hi - lo
        children[v, 0] = v + 1 if middle - lo > 1 else ~lo
        children[v, 1] = v + (middle - lo) if hi - middle > 1 else ~middle
        if hi - middle > 1:
            stack[top, 0], stack[top, 1], stack[top, 2] = v + middle - lo, middle, hi
            top += 1
        if middle - lo > 1:
            stack[top, 0], stack[top, 1], stack[top, 2] = v + 1, lo, middle
            top += 1


@helper
def sign_trees(keys, count, children, leaves, order):
    """Sort the keys, as `morton_keys` wrote them; write their order and a tree per sign, positive first.

    Returns the number of positive leaves.
    """
    _sort(keys, count)
    positive = np.int64(0)
    while positive < count and not keys[positive] >> _SIGN:
        positive += 1
    for negative in range(2):
        start, stop = (positive, np.int64(count)) if negative else (np.int64(0), positive)
        _radix_tree(keys, start, stop, negative * max(positive - 1, 0), children, leaves)
    for p in range(order.shape[0]):
        order[p] = np.int32(keys[p] & _INDEX_MASK) if p < count else -1
    return positive


@helper
def root_of(start, stop, node):
    """Return the reference of the root over leaves ``start, ..., stop - 1`` whose nodes begin at `node`."""
    return node if stop - start > 1 else ~start


@helper
def size_of(reference, leaves, per_node):
    """Return how many components a node holds: all its leaves, or `per_node` once they are more."""
    return 1 if reference < 0 else min(per_node, leaves[reference])


@helper
def first_leaf(reference, children):
    """Return the position of the leftmost leaf under a node."""
    while reference >= 0:
        reference = children[reference, 0]
    return ~reference
