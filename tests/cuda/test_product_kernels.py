"""product of gmengine.cuda, run on the CPU, beside its twin."""

from math import prod

import numpy as np
import pytest
from twins import compare, cotangent, mixtures, on_cpu, on_gpu

from gmengine.cpu import product as twin
from gmengine.deferred import deferred_checks
from gmengine.errors import NonFiniteError, NotPositiveDefinite
from gmengine.testing import assert_close
from gmengine.testing.strategies import random_mixture

DIMS = [1, 2, 3, 4]
DTYPES = ["float32", "float64"]
FORMS = ["product", "squared", "distance"]
SAME = ((3,), (3,))


def operands(batches, n, dim, dtype, rng, absent=0.15):
    """Return the arrays of two mixtures."""
    pairs = zip(batches, n, strict=True)
    return tuple(x for batch, N in pairs for x in mixtures(prod(batch), N, dim, dtype, rng, absent))


def check(cuda, n, batches, dim, dtype, form):
    rng = np.random.default_rng(dim)
    inputs = operands(batches, n, dim, dtype, rng)
    size = max(n) * max(1, np.prod(np.broadcast_shapes(*batches), dtype=int))
    compare(cuda("product"), inputs, rng, size=size, batches=batches, form=form)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_few_components_and_their_gradients_agree_with_the_cpu(cuda, form, dim, dtype):
    check(cuda, (5, 3), SAME, dim, dtype, form)


@pytest.mark.parametrize("n", [(1, 1), (0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_one_component_or_none_and_their_gradients_agree_with_the_cpu(cuda, form, n):
    check(cuda, n, SAME, 3, "float32", form)


@pytest.mark.parametrize(
    ("n", "dim", "dtype"),
    [((63, 64), 4, "float32"), ((65, 130), 2, "float64"), ((300, 7), 3, "float32"), ((1, 200), 1, "float64")],
)
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_many_components_and_their_gradients_agree_with_the_cpu(cuda, form, n, dim, dtype):
    check(cuda, n, ((1,), (1,)), dim, dtype, form)


@pytest.mark.parametrize(
    "batches",
    [
        ((), ()),
        ((4,), ()),
        ((), (4,)),
        ((2, 1), (3,)),
        ((2, 3), (1, 3)),
        ((2, 1, 3), (1, 4, 1)),
        ((0,), ()),
        ((1,), (0, 2)),
        ((0, 2), (2,)),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_batches_of_forms_broadcast_as_on_the_cpu(cuda, form, batches):
    check(cuda, (4, 7), batches, 2, "float64", form)


def test_a_mixture_that_is_part_of_many_forms_gathers_from_all_of_them(cuda):
    check(cuda, (3, 5), ((), (30,)), 2, "float32", "squared")
    check(cuda, (3, 5), ((30,), ()), 2, "float32", "product")


@pytest.mark.parametrize("dim", [2, 3, 4, 5])
def test_hard_conditioning_costs_no_more_digits_than_on_the_cpu(cuda, dim):
    a, b = (random_mixture(seed, (3,), 5, dim, condition=1e6) for seed in (8, 9))
    inputs, options = (*a.arrays, *b.arrays), {"batches": SAME, "form": "product"}
    want, residuals_of_twin = twin.forward(*inputs, **options)
    got, residuals = cuda("product").forward(*on_gpu(inputs), **options)
    peaks = (np.abs(x) if x.ndim == 2 else 0 * x if x.ndim == 3 else x for x in inputs)
    unit, _ = twin.forward(*peaks, **options)
    assert_close("solve", on_cpu(got), want, size=25, condition=1e6, scale=unit)
    g = cotangent(want, np.random.default_rng(dim))
    grads = on_cpu(cuda("product").vjp(residuals, on_gpu(g), (True,) * 6))
    for grad, expected in zip(grads, twin.vjp(residuals_of_twin, g, (True,) * 6), strict=True):
        assert_close("gradient", grad, expected, size=25, condition=1e6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mixtures_that_differ_in_weights_alone_have_their_exact_distance(cuda, dtype):
    rng = np.random.default_rng(0)
    a = mixtures(2, 70, 2, dtype, rng)
    b = (a[0].copy(), a[1].copy(), a[2].copy())
    house, options = cuda("product"), {"batches": ((2,), (2,)), "form": "distance"}
    got, residuals = house.forward(*on_gpu((*a, *b)), **options)
    assert_close("exact", on_cpu(got), np.zeros(2, dtype))
    for grad in house.vjp(residuals, on_gpu(np.ones(2, dtype)), (True,) * 6):
        assert_close("exact", on_cpu(grad), np.zeros(grad.shape, dtype))
    present = np.flatnonzero(b[0][0])[3]
    b[0][0, present] = np.nextafter(b[0][0, present], b[0].dtype.type(9))
    want, _ = twin.forward(*a, *b, **options)
    got, _ = house.forward(*on_gpu((*a, *b)), **options)
    assert want[0] > 0
    assert_close("elementwise", on_cpu(got), want)


def test_single_precision_is_double_precision_rounded_on_the_gpu_too(cuda):
    inputs = operands(SAME, (9, 8), 3, "float32", np.random.default_rng(1))
    options = {"batches": SAME, "form": "product"}
    got, _ = cuda("product").forward(*on_gpu(inputs), **options)
    wide, _ = cuda("product").forward(*on_gpu(tuple(x.astype("float64") for x in inputs)), **options)
    assert_close("exact", on_cpu(got), on_cpu(wide).astype("float32"))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e30])
@pytest.mark.parametrize("form", FORMS)
def test_what_absent_components_hold_reaches_neither_forms_nor_gradients(cuda, form, garbage):
    rng = np.random.default_rng(2)
    inputs = operands(SAME, (6, 5), 3, "float32", rng, absent=0.0)
    house, options, results = cuda("product"), {"batches": SAME, "form": form}, []
    for filling in (1.0, garbage):
        for s in (0, 3):
            inputs[s][:, 2], inputs[s + 1][:, 2], inputs[s + 2][:, 2] = 0.0, filling, filling
        value, residuals = house.forward(*on_gpu(inputs), **options)
        grads = house.vjp(residuals, on_gpu(np.ones(3, "float32")), (True,) * 6)
        results.append(on_cpu((value, *grads)))
    for x, y in zip(*results, strict=True):
        assert_close("exact", x, y)
    for s, grad in enumerate(results[1][1:]):
        if s % 3:
            assert_close("exact", grad[:, 2], np.zeros_like(grad[:, 2]))


@pytest.mark.parametrize("form", ["product", "squared"])
def test_gradients_are_the_differences_of_the_gpus_own_forms(cuda, form):
    rng = np.random.default_rng(3)
    inputs, options = operands(SAME, (4, 3), 3, "float64", rng), {"batches": SAME, "form": form}
    house = cuda("product")
    value, residuals = house.forward(*on_gpu(inputs), **options)
    g = cotangent(on_cpu(value), rng)
    grads = on_cpu(house.vjp(residuals, on_gpu(g), (True,) * 6))
    for i, x in enumerate(inputs):
        tangent = rng.normal(size=x.shape)
        tangent *= (inputs[3 * (i // 3)] != 0).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
        if x.ndim == 4:
            tangent += np.swapaxes(tangent, -1, -2)

        def along(t, i=i, x=x, tangent=tangent):
            moved = [x + t * tangent if k == i else y for k, y in enumerate(inputs)]
            return np.sum(g * on_cpu(house.forward(*on_gpu(moved), **options)[0]))

        h = 1e-4  # of the fourth order: truncation and rounding stay near 1e-10
        want = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        unit = np.sum(np.abs(grads[i] * tangent))
        assert_close("quadrature", np.sum(grads[i] * tangent), np.asarray(want), scale=unit)


def test_the_operand_and_its_first_component_without_a_density_are_named(cuda):
    rng = np.random.default_rng(4)
    inputs = operands(SAME, (5, 140), 2, "float32", rng, absent=0.0)
    inputs[5][1, 133], inputs[5][2, 0] = -np.eye(2), np.nan
    options, finished = {"batches": SAME, "form": "product"}, []
    for house, args in ((cuda("product"), on_gpu(inputs)), (twin, inputs)):
        with pytest.raises(NotPositiveDefinite, match=r"product \(b\): covariance of component \[1, 133\]"):
            house.forward(*args, **options)
    inputs[1][2, 4, 1] = np.inf

    def block():
        with deferred_checks():
            finished.append(cuda("product").forward(*on_gpu(inputs), **options))

    with pytest.raises(NonFiniteError, match=r"product \(a\): component \[2, 4\] has a number"):
        block()
    assert len(finished) == 1  # nobody looked before the end


@pytest.mark.parametrize(("pivot", "refused"), [(2e-14, False), (0.5e-14, True)])
def test_a_covariance_that_is_singular_to_within_rounding_is_refused(cuda, pivot, refused):
    inputs = operands(((1,), (1,)), (3, 2), 2, "float64", np.random.default_rng(5), absent=0.0)
    inputs[2][0, 1] = [[4.0, 2.0], [2.0, 1.0 + pivot]]
    for house, args in ((cuda("product"), on_gpu(inputs)), (twin, inputs)):
        if refused:
            with pytest.raises(NotPositiveDefinite, match=r"product \(a\): covariance of component \[0, 1\]"):
                house.forward(*args, batches=((1,), (1,)), form="squared")
        else:
            house.forward(*args, batches=((1,), (1,)), form="squared")


def test_an_integral_beyond_double_precision_names_its_two_mixtures(cuda):
    batches = ((2, 1), (3,))
    inputs = operands(batches, (3, 2), 2, "float64", np.random.default_rng(6), absent=0.0)
    inputs[0][1], inputs[3][2] = 1e160, 1e160
    for house, args in ((cuda("product"), on_gpu(inputs)), (twin, inputs)):
        with pytest.raises(NonFiniteError, match=r"mixtures 1 of a and 2 of b is beyond float64's range"):
            house.forward(*args, batches=batches, form="product")


def test_a_component_too_narrow_for_double_precision_is_refused_and_one_for_single_is_not(cuda):
    a = np.ones((1, 2)), np.zeros((1, 2, 3)), np.stack([np.eye(3), 1e-220 * np.eye(3)])[None]
    with pytest.raises(NonFiniteError, match=r"product \(b\): component \[0, 1\] is too narrow"):
        cuda("product").forward(
            *on_gpu((a[0][:, :1], a[1][:, :1], a[2][:, :1], *a)), batches=((), ()), form="product"
        )
    a = tuple(x.astype("float32") for x in (*a[:2], np.stack([np.eye(3), 1e-28 * np.eye(3)])[None]))
    want, _ = twin.forward(*a, *a, batches=((), ()), form="product")
    got, _ = cuda("product").forward(*on_gpu((*a, *a)), batches=((), ()), form="product")
    assert np.isinf(want).all()
    assert_close("exact", on_cpu(got), want)


def test_every_kernel_of_forms_is_launched_and_none_for_what_nobody_needs(cuda):
    rng = np.random.default_rng(7)
    inputs = operands(SAME, (3, 2), 2, "float32", rng)
    _, residuals = cuda("product").forward(*on_gpu(inputs), batches=SAME, form="product")
    cuda("product").vjp(residuals, on_gpu(np.ones(3, "float32")), (False, True, False, False, False, False))
    launches = cuda("_launch").launches
    assert {name: launches[name] for name in sorted(launches)} == {
        "product_check": 2,
        "product_factors": 1,
        "product_forward": 1,
        "product_gather": 1,
        "product_gradient": 1,
        "product_total": 1,
    }
