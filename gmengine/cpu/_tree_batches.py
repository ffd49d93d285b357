"""In which order the nodes under the selected ones are fitted: in batches of up to eight independent ones.

A node is ready once its children are fitted. Ready nodes wait in queues, one for each number of slots, as the nodes of
a batch must be alike; the longest queue gives the next batch. The way back takes the batches in reverse.

Components stand in rows of one flat table: component i of the mixture in row i, the fits behind them. A row is named by
where it starts.
"""

from typing import Any, NamedTuple

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._lanes import LANES
from gmengine.cpu._morton_tree import first_leaf, size_of
from gmengine.cpu._tables import part, view


class Batches(NamedTuple):
    """The schedule of one mixture and what it takes to make it."""

    place: Any  # (nodes,)    where a node's outputs start; -1 if it has its children's
    width: Any  # (nodes,)    how many outputs
    kind: Any  # (nodes,)     its queue
    parent: Any  # (nodes,)   -1 above a selected node
    waiting: Any  # (nodes,)  number of children that are still to be fitted
    behind: Any  # (nodes,)   the next in its queue
    queues: Any  # (kinds, 3) first, last, length
    sequence: Any  # (nodes,) the nodes, batch after batch
    ends: Any  # (nodes + 1,) of batch b in `sequence`, ends[b + 1]
    starts: Any  # (3 slots + 1, LANES) rows of a batch's slots, models and outputs; its nodes


@helper
def batches_space(nodes, per_node):
    """Return what `new_batches` divides."""
    return (
        np.empty((8, nodes + 1), np.int64),
        np.empty((per_node + 1, 3), np.int64),
        np.empty((6 * per_node + 1, LANES), np.int64),
    )


@helper
def new_batches(space):
    """Return the empty schedule of a mixture."""
    of_nodes, queues, starts = space
    return Batches(
        part(of_nodes, 0),
        part(of_nodes, 1),
        part(of_nodes, 2),
        part(of_nodes, 3),
        part(of_nodes, 4),
        part(of_nodes, 5),
        view(queues),
        part(of_nodes, 6),
        part(of_nodes, 7),
        view(starts),
    )


@helper
def list_rows(v, lane, tree, order, place, size, per_node, starts):
    """Write where the slots of node v start, those of its left child first, into a column; return how many.

    `size` is that of a row.
    """
    children, leaves = tree
    n_in = 0
    for side in range(2):
        c = children[v, side]
        if c >= 0 and leaves[c] > per_node:
            for k in range(per_node):
                starts[n_in + k, lane] = place[c] + k * size
            n_in += per_node
        else:
            p = first_leaf(c, children)
            for k in range(size_of(c, leaves, per_node)):
                starts[n_in + k, lane] = order[p + k] * size
            n_in += size_of(c, leaves, per_node)
    return n_in


@helper
def _push(v, batches):
    kind, queues = batches.kind[v], batches.queues
    if queues[kind, 2] == 0:
        queues[kind, 0] = v
    else:
        batches.behind[queues[kind, 1]] = v
    queues[kind, 1] = v
    queues[kind, 2] += 1


@helper
def _prepare(u, count, is_root, tree, per_node, batches):
    """Write what there is to know of node u before it is fitted; return whether it only passes on what it gets."""
    children, leaves = tree
    left, right = children[u, 0], children[u, 1]
    n_in = size_of(left, leaves, per_node) + size_of(right, leaves, per_node)
    passes = is_root and count == n_in
    batches.waiting[u], batches.parent[u] = 0, -1
    for c in (left, right):
        if c >= 0 and leaves[c] > per_node:
            batches.waiting[u] += 1
            batches.parent[c] = -1 if passes else u
    batches.width[u] = count if is_root else per_node
    batches.kind[u] = n_in - per_node - 1 if batches.width[u] == per_node else per_node
    return passes


@helper
def start_batches(n_selected, selected, offsets, tree, per_node, first_row, size, batches):
    """List all nodes to be fitted and queue those that are ready."""
    leaves, row = tree[1], first_row * size
    for kind in range(per_node + 1):
        batches.queues[kind, 2] = 0
    batches.ends[0] = 0
    for k in range(n_selected):
        root, count = selected[k], offsets[k + 1] - offsets[k]
        if root < 0 or leaves[root] == count:
            continue
        for u in range(root + leaves[root] - 2, root - 1, -1):
            if u != root and leaves[u] <= per_node:
                continue
            if _prepare(u, count, u == root, tree, per_node, batches):
                batches.place[u] = -1
                continue
            batches.place[u] = row
            row += batches.width[u] * size
            if batches.waiting[u] == 0:
                _push(u, batches)


@helper
def next_batch(b, per_node, batches):
    """Take batch b from the queues and write it behind the others; return how many nodes it has."""
    best = per_node  # the queue of nodes that are unlike all others
    for kind in range(per_node):
        if batches.queues[kind, 2] > (batches.queues[best, 2] if best < per_node else 0):
            best = kind
    queues, start = batches.queues, batches.ends[b]
    count = min(queues[best, 2], LANES if best < per_node else 1)
    v = queues[best, 0]
    for lane in range(count):
        batches.sequence[start + lane] = v
        v = batches.behind[v]
    queues[best, 0] = v
    queues[best, 2] -= count
    batches.ends[b + 1] = start + count
    return count


@helper
def finish_batch(b, batches):
    """Queue the nodes that batch b was the last to keep waiting."""
    for at in range(batches.ends[b], batches.ends[b + 1]):
        above = batches.parent[batches.sequence[at]]
        if above >= 0:
            batches.waiting[above] -= 1
            if batches.waiting[above] == 0:
                _push(above, batches)


@helper
def list_batch(b, tree, order, size, per_node, batches):
    """Write the nodes of batch b and where their slots and outputs start; return (slots, outputs) per node.

    Idle lanes do over what lane 0 does.
    """
    starts, first = batches.starts, batches.ends[b]
    count, outputs = batches.ends[b + 1] - first, 4 * per_node
    n_in, n_out = 0, batches.width[batches.sequence[first]]
    for lane in range(LANES):
        v = batches.sequence[first + (lane if lane < count else 0)]
        starts[6 * per_node, lane] = v
        n_in = list_rows(v, lane, tree, order, batches.place, size, per_node, starts)
        for s in range(n_out):
            starts[outputs + s, lane] = batches.place[v] + s * size
    return n_in, n_out
