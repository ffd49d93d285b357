"""Mixtures as .gma.ply and .gmm.ply: the authors' columns, their two meanings, and what damage does."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.data.formats.ply import write_ply
from gmengine.data.gmm_ply import read_gmm_ply, write_gmm_ply
from gmengine.errors import ArgumentError, FileFormatError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.mixture import Mixture
from gmengine.testing import assert_close
from gmengine.testing.strategies import mixtures, random_mixture

# As numpy.savetxt writes it below the authors' header; the second component is their padding.
FILE = """ply
format ascii 1.0
element component 2
property float x
property float y
property float z
property float covxx
property float covxy
property float covxz
property float covyy
property float covyz
property float covzz
property float weight
end_header
{one}
{two}
"""
ONE = [1.0, 2.0, 3.0, 4.0, 0.5, 0.25, 2.0, -0.5, 1.0, 0.125]
TWO = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]
COVARIANCE = np.array([[4.0, 0.5, 0.25], [0.5, 2.0, -0.5], [0.25, -0.5, 1.0]])


def file_text(one=ONE, two=TWO):
    return FILE.format(one="  ".join(f"{v:.18e}" for v in one), two="  ".join(f"{v:.18e}" for v in two))


def test_priors_are_integrals_as_they_stand(tmp_path):
    (tmp_path / "a.GMM.ply").write_text(file_text())
    m = read_gmm_ply(tmp_path / "a.GMM.ply")
    assert m.dtype == np.float32
    np.testing.assert_array_equal(m.weights, np.float32([0.125, 0]))
    np.testing.assert_array_equal(m.means[0], [1, 2, 3])
    np.testing.assert_array_equal(m.covariances[0], COVARIANCE.astype(np.float32))


def test_amplitudes_become_integrals(tmp_path):
    (tmp_path / "a.gma.ply.gz").write_bytes(gzip.compress(file_text().encode()))
    m = read_gmm_ply(tmp_path / "a.gma.ply.gz")
    want = 0.125 * np.sqrt((2 * np.pi) ** 3 * np.linalg.det(COVARIANCE))
    assert_close("elementwise", m.weights, np.array([want, 0.0]))
    assert_close("solve", m.amplitudes, np.array([0.125, 0.0]), condition=np.linalg.cond(COVARIANCE))


@given(mixtures(batch=(), dim=3), st.sampled_from(["float32", "float64"]))
def test_priors_come_back_to_the_bit(tmp_path_factory, m, dtype):
    file, m = tmp_path_factory.getbasetemp() / "m.gmm.ply", m.astype(dtype)
    write_gmm_ply(file, m)
    found = read_gmm_ply(file)
    assert found.dtype == m.dtype
    np.testing.assert_array_equal(found.weights, m.weights)
    present = m.weights != 0
    np.testing.assert_array_equal(found.means[present], m.means[present])
    upper = np.triu(m.covariances[present])
    np.testing.assert_array_equal(np.triu(found.covariances[present]), upper)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_amplitudes_come_back_as_the_same_function(tmp_path, dtype):
    m = random_mixture(3, (), 40, 3, absent=0.2, dtype=dtype)
    write_gmm_ply(tmp_path / "m.gma.ply", m)
    found = read_gmm_ply(tmp_path / "m.gma.ply")
    condition = np.linalg.cond(m.covariances[m.weights != 0].astype(np.float64)).max()
    assert_close("solve", found.weights, m.weights, condition=condition)
    np.testing.assert_array_equal(found.weights == 0, m.weights == 0)


def test_the_file_looks_as_the_authors_reader_expects(tmp_path):
    m = Mixture(
        np.array([0.5, 0.0]), np.array([[1.0, 2, 3], [9, 9, 9]]), np.stack([COVARIANCE, 0 * COVARIANCE])
    )
    write_gmm_ply(tmp_path / "m.ply", m.astype("float32"), kind="priors")
    head, rows = (tmp_path / "m.ply").read_text().split("end_header\n")
    assert "element component 2\nproperty float x\n" in head
    assert [[float(v) for v in row.split("  ")] for row in rows.splitlines()] == [[*ONE[:9], 0.5], TWO]
    write_gmm_ply(tmp_path / "m.ply", m, kind="priors")
    assert "property double weight" in (tmp_path / "m.ply").read_text()


def test_other_columns_and_orders_are_read(tmp_path):
    names = FILE.split("property float ")[1:]
    names = [name.split("\n")[0] for name in names]
    table = {name: np.array([v]) for name, v in zip(names, ONE, strict=True)}
    table = {"nvx": np.array([7], np.int32), **dict(reversed(table.items()))}
    write_ply(tmp_path / "m.ply", {"vertex": table})
    m = read_gmm_ply(tmp_path / "m.ply", kind="priors")
    assert m.dtype == np.float64
    np.testing.assert_array_equal(m.covariances[0], COVARIANCE)


def test_a_name_that_does_not_say_what_weights_are_needs_a_kind(tmp_path):
    for call in (read_gmm_ply, lambda path, **kind: write_gmm_ply(path, random_mixture(0, (), 2, 3), **kind)):
        with pytest.raises(ArgumentError, match="kind='amplitudes' or kind='priors'"):
            call(tmp_path / "m.ply")
        with pytest.raises(ArgumentError, match="got 'weights'"):
            call(tmp_path / "m.gmm.ply", kind="weights")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (file_text(one=[float("nan"), *ONE[1:]]), "mean of component"),
        (file_text(one=[*ONE[:3], -4.0, *ONE[4:]]), "not positive definite"),
        (file_text(one=[*ONE[:9], float("inf")]), "weight of component"),
        (file_text().replace("covyz", "covzy"), "no number 'covyz'"),
        (file_text().replace("float covxx", "list uchar float covxx"), "ends before"),
        (file_text()[:-60], "ends before"),
        (file_text().replace("component 2", "component 999999999999"), "ends before"),
        (file_text().replace("element component", "element thing"), "no number 'x'"),
    ],
)
def test_a_damaged_mixture_file_is_named_with_the_reason(tmp_path, text, reason):
    for name in ("m.gmm.ply", "m.gma.ply"):
        (tmp_path / name).write_text(text)
        with pytest.raises(FileFormatError, match=rf"{name}: .*{reason}"):
            read_gmm_ply(tmp_path / name)


def test_mixtures_that_the_format_cannot_hold_are_refused(tmp_path):
    file = tmp_path / "m.gma.ply"
    for m in (random_mixture(0, (2,), 3, 3), random_mixture(0, (), 3, 2)):
        with pytest.raises(ShapeError, match="one 3-D mixture"):
            write_gmm_ply(file, m)
    m = random_mixture(0, (), 3, 3)
    with pytest.raises(NotPositiveDefinite):
        write_gmm_ply(file, Mixture(m.weights, m.means, -m.covariances))
    tiny = Mixture.isotropic(np.ones(1, np.float32), np.zeros((1, 3), np.float32), sigma=1e-15)
    with pytest.raises(NonFiniteError, match="amplitude of component 0 is beyond float32"):
        write_gmm_ply(file, tiny)
    assert list(tmp_path.iterdir()) == []
