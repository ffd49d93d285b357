"""The cache of compiled kernels notices changes in every source that a kernel is made of."""

from pathlib import Path

import pytest

from gmengine.cpu import _compile, convolve, em, evaluate, hem, product, relu, render, tree_hem


def sources(module):
    return {Path(path).stem for path in _compile._sources(module.__name__, set())}


@pytest.mark.parametrize(
    ("module", "some"),
    [
        (evaluate, {"evaluate", "_blocks", "_exp2", "_gaussian", "_pairs", "_rows", "_tuples", "_vectors"}),
        (relu, {"_relu_parts", "_pairs", "_blocks"}),
        (em, {"_em_levels", "_em_step", "_em_step_vjp", "_gaussian", "_pairs"}),
        (hem, {"em", "_hem_plan", "_morton_tree"}),
        (product, {"_product_pairs", "_root_free"}),
        (render, {"_render_lines", "_render_planes", "_render_walk"}),
        (tree_hem, {"_node_fit", "_selection", "_tree_climb", "_tree_hem_vjp"}),
        (convolve, {"_compile"}),
    ],
)
def test_all_sources_count(module, some):
    assert some <= sources(module)


def test_the_stamp_of_a_cached_kernel_holds_them():
    stamp = evaluate._forward.compiled._cache._cache_file._source_stamp
    assert stamp[1] == _compile._fingerprint(evaluate._forward.compiled.py_func)
