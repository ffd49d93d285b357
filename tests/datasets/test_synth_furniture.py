"""Furniture made by rule: sound meshes, reproducible, various, and of classes that can be told apart."""

import numpy as np
import pytest

from gmengine.data import synth_furniture as module
from gmengine.data._synth_solids import block, cushion, loft, outline, revolved, rod, slab, tilted, union
from gmengine.data.collection import TEST, TRAIN, VALID
from gmengine.data.formats.mesh import checked_mesh
from gmengine.data.synth_furniture import CLASS_NAMES, ENTRY, furniture_mesh, synth_furniture
from gmengine.errors import ArgumentError
from gmengine.testing.tolerances import tolerance


@pytest.fixture(scope="module")
def furniture():
    return synth_furniture(60, points=512)


def volume(mesh):
    """Six times the signed volume of a closed mesh."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles], 1, 0)
    return (a * np.cross(b, c)).sum()


SOLIDS = {
    "block": block((-1, 2), (0, 1), (3, 5)),
    "rod": rod((0, 1, 2), (3, 1, 0), 0.2, 0.1),
    "slab": slab(outline(2, 1, 3.0), (0, 0.1)),
    "revolved": revolved([(1, 0), (0.5, 1), (1, 2)]),
    "cushion": cushion((0, 1), (0, 2), (0, 0.3)),
    "union": union(block((0, 1), (0, 1), (0, 1)), block((2, 3), (0, 1), (0, 1))),
    "tilted": tilted(block((-1, 1), (0, 1), (0, 1)), 0.3, 0.5, 0.5),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_and_all_their_triangles_turn_the_same_way(name):
    mesh = SOLIDS[name]
    edges = mesh.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    keys, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 1).all()  # every directed edge once
    assert {tuple(edge) for edge in keys} == {tuple(edge) for edge in keys[:, ::-1]}  # and once the other way


def test_volumes_are_those_of_the_formulas():
    def close(found, expected):
        assert abs(abs(found) / 6 - expected) <= tolerance("sum", "float64", 200) * expected

    close(volume(SOLIDS["block"]), 6)
    close(volume(SOLIDS["union"]), 2)
    close(volume(SOLIDS["tilted"]), 2)
    ring = outline(2, 2, 2.0, 24)
    area = 12 * np.sin(2 * np.pi / 24)
    close(volume(slab(ring, (1, 3))), 2 * area)
    cone = loft(np.array([np.column_stack([ring, np.zeros(24)]), np.column_stack([ring / 2, np.ones(24)])]))
    close(volume(cone), area * 7 / 12)


def test_a_bar_ends_where_it_should_at_its_radii():
    begin, end = np.array([0.3, -1, 2]), np.array([1.0, 0.5, 0])
    rings = rod(begin, end, 0.2, 0.1, sides=8).vertices[:16].reshape(2, 8, 3)
    for ring, centre, radius in zip(rings, (begin, end), (0.2, 0.1), strict=True):
        error = tolerance("elementwise", "float64") * 4
        assert np.abs(ring.mean(axis=0) - centre).max() <= error
        assert np.abs(np.sqrt(((ring - centre) ** 2).sum(axis=1)) - radius).max() <= error
        assert np.abs((ring - centre) @ (end - begin)).max() <= error


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_every_piece_is_a_sound_mesh_of_a_plausible_size_that_stands_on_the_floor(name):
    for index in range(60):
        mesh = furniture_mesh(name, index)
        checked_mesh(mesh.vertices, mesh.triangles, name)
        extent = np.ptp(mesh.vertices, axis=0)
        assert ((extent > 0.03) & (extent < 3.5)).all()
        assert -0.1 < mesh.vertices[:, 2].min() < 0.5


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_no_two_pieces_of_a_class_have_the_same_proportions(name):
    extents = np.array([np.ptp(furniture_mesh(name, index).vertices, axis=0) for index in range(40)])
    ratios = extents[:, 1:] / extents[:, :1]
    assert len(np.unique(ratios, axis=0)) == 40
    assert (ratios.max(axis=0) / ratios.min(axis=0) > 1.25).all()


def test_a_piece_depends_on_seed_class_and_number_alone():
    many, few = synth_furniture(5, points=32), synth_furniture(3, points=32)
    for c in range(10):
        for index in range(3):
            np.testing.assert_array_equal(many.objects.one(5 * c + index), few.objects.one(3 * c + index))
    assert few.checksum() == synth_furniture(3, points=32).checksum()
    assert few.checksum() != synth_furniture(3, points=32, seed=1).checksum()


def test_clouds_are_centred_in_the_unit_ball_and_split_class_by_class(furniture):
    assert furniture.class_names == CLASS_NAMES == tuple(sorted(CLASS_NAMES))
    assert furniture.objects.points.dtype == np.float32
    assert (furniture.objects.sizes == 512).all()
    clouds = furniture.objects.points.reshape(600, 512, 3).astype(np.float64)
    assert np.abs(clouds.mean(axis=1)).max() <= tolerance("sum", "float32", 512)
    radius = np.sqrt((clouds**2).sum(axis=2)).max(axis=1)
    assert np.abs(radius - 1).max() <= tolerance("elementwise", "float32")
    for label in range(10):
        parts = furniture.parts[furniture.labels == label]
        assert [(parts == part).sum() for part in (TRAIN, VALID, TEST)] == [42, 6, 12]


def distances(cloud, bins=32):
    """Histogram of the distances between points (D2 of Osada et al.), and of the heights."""
    pairs = np.sqrt(((cloud[::2] - np.roll(cloud[1::2], 17, axis=0)) ** 2).sum(axis=1))
    own = np.histogram(pairs, bins, (0, 2))[0] / len(pairs)
    return np.concatenate([own, np.histogram(cloud[:, 2], bins, (-1, 1))[0] / len(cloud)])


def test_classes_can_be_told_apart_by_the_nearest_mean_histogram(furniture):
    features = np.array([distances(furniture.objects.one(k)) for k in range(len(furniture))])
    train, test = furniture.parts == TRAIN, furniture.parts == TEST
    means = np.array([features[train & (furniture.labels == c)].mean(axis=0) for c in range(10)])
    nearest = ((features[test][:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    right, tests = (nearest == furniture.labels[test]).sum(), test.sum()
    # Guessing is right in a tenth of all cases; Hoeffding: by chance it is so often right once in 10^12.
    assert right > tests / 10 + np.sqrt(np.log(1e12) * tests / 2)


def test_the_entry_takes_no_folder_and_hands_its_options_on(tmp_path):
    assert ENTRY.locate(None) is None
    assert len(ENTRY.read(None, per_class=2, points=8)) == 20
    for call in (ENTRY.locate, ENTRY.read):
        with pytest.raises(ArgumentError, match="takes no folder"):
            call(tmp_path)
    assert {name: default for name, (default, _) in ENTRY.options.items()} == {
        "per_class": 200,
        "points": 1024,
        "seed": 0,
    }


@pytest.mark.parametrize("options", [{"per_class": 0}, {"points": True}, {"seed": -1}])
def test_numbers_of_the_furniture_that_are_none_are_refused(options):
    with pytest.raises(ArgumentError, match=f"expected {next(iter(options))}"):
        synth_furniture(**options)
    with pytest.raises(ArgumentError, match="one of bathtub"):
        module.furniture_mesh("lamp", 0)
