"""Faces of VRML97 scenes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_bytes import SQUARE, TWO

from gmengine.data.formats.vrml import parse_vrml
from gmengine.errors import FileFormatError
from gmengine.testing.tolerances import tolerance

HEAD = b"#VRML V2.0 utf8\n"
FACES = (
    b"Shape { geometry IndexedFaceSet { coordIndex [0,1,2,3,-1] "
    b"coord Coordinate { point [0 0 0, 1 0 0, 1 1 0, 0 1 0.5] } } }\n"
)
WRL = HEAD + FACES


@pytest.mark.parametrize(
    "text",
    [
        WRL,
        WRL.replace(b",", b" "),
        WRL.replace(b"\n", b"\r\n").replace(b"[", b"\t[\r\n"),
        WRL.replace(b"3,-1", b"3"),  # the last polygon may end with the list
        WRL.replace(b"3,-1", b"3,-1,-1,-1,2,-1,0,1,-1"),  # what has less than three corners has no face
        WRL.replace(b"[0,1", b"[ # the ] in a comment }\n 0,1"),
        WRL.replace(b"Shape", b'WorldInfo { title "a \\" { # [ point [" } Shape'),
        WRL.replace(b"coord ", b"creaseAngle 0.5 color Color { color [1 0 0] } coord DEF A "),
        WRL + b"Shape { geometry PointSet { coord Coordinate { point [9 9 9] } } }",
        WRL + b"Shape { geometry IndexedLineSet { coordIndex [0 -1] coord Coordinate { point [9 9 9] } } }",
        WRL + b"Shape { geometry IndexedFaceSet { coord Coordinate { point [] } coordIndex [] } }",
        WRL.replace(b"Shape {", b"Shape { appearance Appearance { material USE M } "),
        HEAD + b"Group { children [ Switch { whichChoice 0 choice [" + FACES + b"] } ] }",
        HEAD + b"Transform { children " + FACES + b"}",
    ],
)
def test_the_faces_of_a_scene_are_read_however_they_are_spelled(text):
    mesh = parse_vrml(text, "square.wrl")
    np.testing.assert_array_equal(mesh.vertices, SQUARE)
    np.testing.assert_array_equal(mesh.triangles, TWO)
    assert (mesh.vertices.dtype, mesh.triangles.dtype) == (np.float64, np.int64)


def test_the_corners_of_every_shape_refer_to_its_own_points():
    mesh = parse_vrml(WRL + FACES.replace(b"0.5", b"0.25"), "two.wrl")
    np.testing.assert_array_equal(mesh.triangles, [*TWO, *(TWO + 4)])
    np.testing.assert_array_equal(mesh.vertices[:4], SQUARE)
    assert mesh.vertices[7, 2] == 0.25


def test_points_that_two_shapes_share_are_read_for_both():
    shared = WRL.replace(b"coord ", b"coord DEF P ") + (
        b"Shape { geometry IndexedFaceSet { coord USE P coordIndex [0 1 3] } }"
    )
    mesh = parse_vrml(shared, "shared.wrl")
    np.testing.assert_array_equal(mesh.vertices, [*SQUARE, *SQUARE])
    np.testing.assert_array_equal(mesh.triangles, [*TWO, [4, 5, 7]])


def moved(fields):
    return parse_vrml(HEAD + b"Transform { " + fields + b" children [" + FACES + b"] }", "m.wrl").vertices


def test_transforms_move_what_they_hold():
    def close(found, expected):
        error = tolerance("solve", "float64", 9)
        assert (np.abs(found - expected) <= error * (1 + np.abs(expected).max())).all()

    x, y, z = SQUARE.T
    close(moved(b"translation 1 2 3"), np.add(SQUARE, [1, 2, 3]))
    close(moved(b"scale 2 3 -4"), SQUARE * [2, 3, -4])
    close(moved(b"rotation 0 0 5 1.5707963267948966"), np.stack([-y, x, z], 1))
    close(moved(b"rotation 1 0 0 3.141592653589793 center 0 1 0"), np.stack([x, 2 - y, -z], 1))
    # Stretched along x + y, which is turned from x by 45 degrees.
    half = (x + y)[:, None] * [0.5, 0.5, 0]
    close(moved(b"scale 3 1 1 scaleOrientation 0 0 1 0.7853981633974483"), SQUARE + 2 * half)
    inner = b"translation 1 0 0 children Transform { scale 2 2 2 rotation 0 0 0 9 children"
    close(moved(inner + FACES + b"}")[:4], SQUARE * 2 + [1, 0, 0])


def test_fields_of_other_nodes_called_like_those_of_a_transform_move_nothing():
    other = (
        b"Shape { appearance Appearance { textureTransform TextureTransform { scale 2 2 translation 5 5 } } }"
    )
    np.testing.assert_array_equal(moved(other), SQUARE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "#VRML V2.0"),
        (b"#VRML V1.0 ascii\n" + FACES, "#VRML V2.0"),
        (HEAD, "no faces"),
        (WRL[: WRL.index(b"0.5")], "truncated"),
        (WRL[:-3], "truncated"),
        (WRL + b"}", "never opened"),
        (WRL.replace(b"0.5", b"0.5.5"), "damaged"),
        (WRL.replace(b"0.5", b"nan"), "not a number"),
        (WRL.replace(b"0.5", b"inf"), "not a place"),
        (WRL.replace(b"0.5", b""), "multiple of three"),
        (WRL.replace(b"3,-1", b"4,-1"), "beyond the last point"),
        (WRL.replace(b"3,-1", b"-2,-1"), "less than -1"),
        (WRL.replace(b"3,-1", b"-3,-1"), "less than -1"),
        (WRL.replace(b"3,-1", b"3-1"), "not an integer"),
        (WRL.replace(b"3,-1", b"1.0"), "not an integer"),
        (WRL.replace(b"3,-1", b"9" * 30), "not an integer"),
        (WRL.replace(b"0.5", b"0").replace(b"1 1 0", b"2 0 0").replace(b"0 1 0", b"3 0 0"), "area"),
        (WRL + b"PROTO Part [] { Shape {} }", "PROTO"),
        (WRL + b'Inline { url "other.wrl" }', "Inline"),
        (WRL.replace(b"Shape", b"DEF S Shape") + b"Group { children USE S }", "used twice"),
        (HEAD + b"Group { children " * 200 + FACES + b"}" * 200, "within each other"),
        (HEAD + b"Transform { scale 1e400 1 1 children " + FACES + b"}", "scale"),
    ],
)
def test_a_damaged_scene_is_refused_with_its_name_and_the_reason(text, reason):
    with pytest.raises(FileFormatError, match=rf"part\.wrl: .*{reason}"):
        parse_vrml(text, "part.wrl")


@given(st.data())
def test_no_bytes_give_any_other_error_than_one_of_the_format(data):
    text = WRL + b"Transform { scale 1 2 3 children [" + FACES + b"] }"
    kind = data.draw(st.sampled_from(["cut", "changed", "any"]))
    if kind == "cut":
        text = text[: data.draw(st.integers(0, len(text)))]
    elif kind == "changed":
        text = bytearray(text)
        for _ in range(data.draw(st.integers(1, 6))):
            text[data.draw(st.integers(0, len(text) - 1))] = data.draw(
                st.sampled_from(b'0 9-,[]{}"#\n.e\xff\0')
            )
        text = bytes(text)
    else:
        text = HEAD + data.draw(st.binary(max_size=80))
    said = "any.wrl: "
    try:
        mesh = parse_vrml(text, "any.wrl")
    except FileFormatError as error:
        said = str(error)
    else:
        assert np.isfinite(mesh.vertices).all()
        assert (mesh.triangles >= 0).all()
        assert (mesh.triangles < len(mesh.vertices)).all()
    assert said.startswith("any.wrl: ")


@pytest.mark.parametrize(
    "piece", [b"point [", b'"', b"{", b"coordIndex\t", b"DEF a", b"#", b"scale 1 1 ", b'\\"']
)
def test_a_scan_takes_linear_time_on_hostile_repetitions(piece):
    # Half a megabyte: a scan that is quadratic would take many minutes.
    with pytest.raises(FileFormatError):
        parse_vrml(HEAD + piece * (500_000 // len(piece)), "long.wrl")
