"""Furniture libraries of Sweet Home 3D, made here; the real ones where they are installed."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_bytes import OBJ, SQUARE

from gmengine.data import sweethome3d as module
from gmengine.data._sweethome3d_names import MODELNET10, NAMES, class_by_name
from gmengine.data.collection import TEST
from gmengine.data.formats.properties import parse_properties
from gmengine.data.formats.sh3f import read_sh3f
from gmengine.data.sweethome3d import ENTRY, ENTRY_10, locate, sweethome3d, sweethome3d_10
from gmengine.data.synth_furniture import CLASS_NAMES
from gmengine.errors import ArgumentError, DataError, FileFormatError
from gmengine.testing.tolerances import tolerance

CATALOGUE = "PluginFurnitureCatalog.properties"
INSTALLED = Path("/usr/share/sweethome3d/furniture")
PIECE = {
    "name": "Chair",
    "category": "Office",
    "model": "/lib/a.obj",
    "width": "40",
    "depth": "50",
    "height": "80",
}


def catalogue(pieces):
    lines = [
        f"{key}#{number}={value}" for number, piece in enumerate(pieces, 1) for key, value in piece.items()
    ]
    return "\n".join(["id=test", *lines]).encode("latin-1")


def library(path, pieces, models=None, extra=()):
    """Write a .sh3f file with one square as every model."""
    models = {piece["model"].lstrip("/"): OBJ for piece in pieces} if models is None else models
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [(CATALOGUE, catalogue(pieces)), *models.items(), *extra]:
            archive.writestr(name, data)
    return path


def pieces_of(path):
    return list(read_sh3f(path, lambda name, category: True))


# --- properties


def test_properties_are_read_as_java_reads_them():
    text = (
        b"# a comment \\\n! another\n\n  a = 1\nb:2\r\nc 3\rd\n \te\\ f\\=\\:g = \\u00e9\\t\\\\ x \n"
        b"long = one, \\\n    two \\\\\\\n # three\nsame=1\nsame=\xe9\nlast=\\"
    )
    assert parse_properties(text, "p") == {
        "a": "1",
        "b": "2",
        "c": "3",
        "d": "",
        "e f=:g": "é\t\\ x ",
        "long": "one, two \\# three",
        "same": "é",
        "last": "",
    }


def test_a_damaged_escape_is_refused_with_the_name():
    with pytest.raises(FileFormatError, match=r"p: \\u without four"):
        parse_properties(b"a=\\u12", "p")


@given(st.binary(max_size=60) | st.text("\\u01#=: \n\tab", max_size=40).map(str.encode))
def test_properties_of_any_bytes_are_text_or_one_error(data):
    try:
        found = parse_properties(data, "p")
    except FileFormatError:
        return
    assert all(isinstance(text, str) for entry in found.items() for text in entry)


# --- .sh3f


def test_a_model_has_the_size_of_the_catalogue(tmp_path):
    (piece,) = pieces_of(library(tmp_path / "a.sh3f", [PIECE]))
    assert (piece.name, piece.category, piece.model) == ("Chair", "Office", "/lib/a.obj")
    expected = (SQUARE - [0.5, 0.5, 0.25]) * [40, 80, 100]  # width, height, depth of what is 1 x 1 x 0.5
    assert (np.abs(piece.mesh.vertices - expected) <= tolerance("elementwise", "float64") * 100).all()


def test_a_model_is_turned_before_it_is_measured(tmp_path):
    turned = {**PIECE, "modelRotation": "0 0 1 0 1 0 -1 0 0"}
    (piece,) = pieces_of(library(tmp_path / "a.sh3f", [turned]))
    x, y, z = (SQUARE - [0.5, 0.5, 0.25]).T
    expected = np.stack([z * 80, y * 80, -x * 50], axis=1)
    assert (np.abs(piece.mesh.vertices - expected) <= tolerance("elementwise", "float64") * 100).all()


def test_a_flat_model_stays_flat(tmp_path):
    (piece,) = pieces_of(library(tmp_path / "a.sh3f", [PIECE], {"lib/a.obj": OBJ.replace(b"0.5", b"0")}))
    np.testing.assert_array_equal(piece.mesh.vertices[:, 2], 0)
    assert np.ptp(piece.mesh.vertices[:, 0]) == 40


def test_only_wanted_models_are_read(tmp_path):
    path = library(
        tmp_path / "a.sh3f", [PIECE, {**PIECE, "name": "Lamp", "model": "gone.obj"}], {"lib/a.obj": OBJ}
    )
    assert len(list(read_sh3f(path, lambda name, category: name == "Chair"))) == 1


@pytest.mark.parametrize(
    ("change", "models", "reason"),
    [
        ({}, {}, "missing, although"),
        ({"model": "a.dae"}, None, "format OBJ"),
        ({}, {"lib/a.obj": b"v 0 0"}, "a.obj: vertex 0 has less"),
        ({"width": "x"}, None, "lacks a number"),
        ({"width": "0"}, None, "not positive"),
        ({"depth": "nan"}, None, "lacks a number"),
        ({"height": "1e300"}, None, "not a place"),
        ({"modelRotation": "1 0 0"}, None, "damaged modelRotation"),
        ({"modelRotation": "1 0 0 0 1 0 0 0 x"}, None, "damaged"),
        ({"name": "\\u00"}, None, "hexadecimal"),
    ],
)
def test_a_damaged_library_is_refused_with_its_name_and_the_reason(tmp_path, change, models, reason):
    path = library(tmp_path / "a.sh3f", [{**PIECE, **change}], models)
    with pytest.raises(FileFormatError, match=rf"a\.sh3f: .*{reason}"):
        pieces_of(path)


@pytest.mark.parametrize("name", ["../a.obj", "a/../../b.obj", "/etc/passwd", "a\\b.obj", "C:/a.obj"])
def test_an_entry_that_points_outside_is_refused(tmp_path, name):
    entry = zipfile.ZipInfo("placeholder")
    entry.filename = name
    with pytest.raises(FileFormatError, match="refused: an entry is called"):
        pieces_of(library(tmp_path / "a.sh3f", [PIECE], extra=[(entry, b"")]))


def test_an_entry_that_inflates_without_end_is_refused_before_it_is_inflated(tmp_path):
    with pytest.raises(FileFormatError, match=r"refused: 'bomb' inflates from \d+ to 2000000 bytes"):
        pieces_of(library(tmp_path / "a.sh3f", [PIECE], extra=[("bomb", bytes(2_000_000))]))


def test_sizes_beyond_all_bounds_and_encrypted_entries_are_refused(tmp_path):
    whole = library(tmp_path / "a.sh3f", [PIECE]).read_bytes()
    directory = whole.index(b"PK\x01\x02")
    for offset, new, reason in (
        (24, (2**31).to_bytes(4, "little"), "2147483648 bytes"),
        (8, b"\1\0", "encrypted"),
    ):
        begin = directory + offset
        (tmp_path / "b.sh3f").write_bytes(whole[:begin] + new + whole[begin + len(new) :])
        with pytest.raises(FileFormatError, match=rf"b\.sh3f: refused: .*{reason}"):
            pieces_of(tmp_path / "b.sh3f")


def test_what_is_no_library_is_refused(tmp_path):
    (tmp_path / "a.sh3f").write_bytes(b"PK")
    with pytest.raises(FileFormatError, match="not a zip file"):
        pieces_of(tmp_path / "a.sh3f")
    with zipfile.ZipFile(tmp_path / "b.sh3f", "w") as archive:
        archive.writestr("a.obj", OBJ)
    with pytest.raises(FileFormatError, match=f"no {CATALOGUE}"):
        pieces_of(tmp_path / "b.sh3f")
    with pytest.raises(FileFormatError, match="lists no furniture"):
        pieces_of(library(tmp_path / "c.sh3f", []))


@given(st.data())
def test_no_bytes_of_a_library_give_any_other_error(tmp_path_factory, data):
    stream = io.BytesIO()
    library(stream, [PIECE, {**PIECE, "modelRotation": "0 0 1 0 1 0 -1 0 0"}])
    whole = bytearray(stream.getvalue())
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole)))]
    for _ in range(data.draw(st.integers(0, 5))):
        if whole:
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "any.sh3f"
    path.write_bytes(whole)
    said = "any.sh3f: "
    try:
        pieces_of(path)
    except FileFormatError as error:
        said = str(error)
    assert "any.sh3f: " in said


# --- the data set


def house(tmp_path):
    names = ["Bed", "Chair with cushion", "Table on trestles", "Bedside table", "Spoon", "Sofa", "Glass door"]
    pieces = [{**PIECE, "name": name, "model": f"/m{k}.obj"} for k, name in enumerate(names * 3)]
    library(tmp_path / "a.sh3f", pieces[:10])
    library(tmp_path / "b.sh3f", pieces[10:])
    return tmp_path


def test_what_a_thing_is_follows_from_the_last_words_of_its_name():
    for name, ten, all_of in (
        ("Bedside table", "night_stand", "cabinet"),
        ("Desk lamp", None, "lamp"),
        ("Concept Sedan 02 Sport", None, "vehicle"),
        ("Blue pine under snow", None, "plant"),
        ("Wheelchair", None, None),
        ("TV 16:9", "monitor", None),
        ("Pool table", None, None),
        ("Chaise longue", None, None),
        ("", None, None),
    ):
        assert (class_by_name(name, MODELNET10), class_by_name(name, NAMES)) == (ten, all_of)


def test_the_ten_classes_are_those_of_the_synthetic_furniture_in_their_order(tmp_path):
    found = sweethome3d_10(house(tmp_path), points=8)
    assert found.class_names == CLASS_NAMES
    assert {name for name in MODELNET10.values() if name} == set(CLASS_NAMES)
    assert (found.parts == TEST).all()
    assert [CLASS_NAMES[label] for label in found.labels[:4]] == ["bed", "chair", "table", "night_stand"]
    assert len(found) == 15


def test_clouds_stand_upright_in_the_unit_ball(tmp_path):
    made = sweethome3d(house(tmp_path), points=300)
    assert len(module.CLASS_NAMES) == 13
    assert len(made) == 18
    assert (made.objects.sizes == 300).all()
    for k in range(len(made)):
        points = made.objects.one(k).astype(np.float64)
        assert np.abs(points.mean(axis=0)).max() <= tolerance("sum", "float32", 300)
        assert abs(np.sqrt((points**2).sum(axis=1).max()) - 1) <= tolerance("elementwise", "float32")
        # The square of 40 x 80 rises by 50 towards its upper edge in y of the model, which looks to +z.
        assert np.corrcoef(points[:, 1], points[:, 2])[0, 1] < 0


def test_a_cloud_depends_on_seed_library_and_model_alone(tmp_path):
    whole = sweethome3d(house(tmp_path), points=20)
    again, other = (sweethome3d(tmp_path, points=20, seed=seed) for seed in (0, 1))
    assert whole.checksum() == again.checksum() != other.checksum()
    one = sweethome3d(tmp_path / "b.sh3f", points=20)
    np.testing.assert_array_equal(one.objects.points, whole.objects.points[-20 * len(one) :])


def test_missing_libraries_are_an_error_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_USUAL", (str(tmp_path / "none"),))
    monkeypatch.delenv("GMENGINE_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="apt-get install sweethome3d-furniture"):
        sweethome3d()
    with pytest.raises(DataError, match=r"sweethome3d-10:/folder"):
        ENTRY_10.locate(tmp_path)
    with pytest.raises(DataError, match="nothing in it has one of the classes"):
        sweethome3d(library(tmp_path / "a.sh3f", [{**PIECE, "name": "Spoon"}]))
    assert ENTRY.locate(tmp_path) == locate(tmp_path) == tmp_path


@pytest.mark.parametrize(
    "options", [{"classes": "all"}, {"parts": "train"}, {"points": 0}, {"seed": -1}, {"points": 2.0}]
)
def test_options_of_the_furniture_that_are_none_are_refused(tmp_path, options):
    with pytest.raises(ArgumentError, match=f"expected {next(iter(options))}"):
        sweethome3d(tmp_path, **options)


@pytest.mark.skipif(not INSTALLED.exists(), reason="the package sweethome3d-furniture is not installed")
def test_the_installed_libraries_have_furniture_of_all_classes_and_are_read_without_a_refusal():
    names = []
    for path in INSTALLED.glob("*.sh3f"):
        assert list(read_sh3f(path, lambda name, category: names.append(name))) == []
    for table, count in ((MODELNET10, 10), (NAMES, 13)):
        assert len({class_by_name(name, table) for name in names} - {None}) == count
    found = sweethome3d_10(INSTALLED / "KatorLegaz.sh3f", points=16)
    assert len(found) > 10
