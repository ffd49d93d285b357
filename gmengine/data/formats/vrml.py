"""VRML97: the faces of a scene, as CAD programs export them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from gmengine.data.formats.mesh import Mesh, checked_mesh, fan
from gmengine.errors import FileFormatError

# Every repetition is possessive, and what is not closed is taken to its end, so that scanning takes linear time.
_TEXT_OR_COMMENT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|#[^\r\n]*+', re.DOTALL)
_NAME = rb"([^\s\[\]{},]++)"
_TOKEN = re.compile(
    rb"([{}])|\b(?:"
    rb"(point|coordIndex)[\s,]*+\[([^\[\]{}]*+)\]"
    rb"|(translation|rotation|scaleOrientation|scale|center)((?:[\s,]++[-+.0-9][-+.0-9eE]*+){3,4}+)"
    rb"|DEF\s++" + _NAME + rb"\s++(\w++)"
    rb"|USE\s++" + _NAME + rb"|(Transform|IndexedFaceSet|Coordinate|PROTO|Inline)\b)"
)
_NO_GEOMETRY = {b"Material", b"Appearance", b"ImageTexture", b"PixelTexture", b"Color", b"Normal"}
_SEPARATORS = bytes.maketrans(b",\t\r\n", b"    ")
_NOT_AN_INTEGER = re.compile(rb"-(?![0-9])|[0-9]-|[0-9]{19}")
_PIECE = 1 << 20  # bytes of numbers that are Python objects at a time
_DEPTH = 128  # nodes within nodes
_Motion = tuple[np.ndarray, np.ndarray]  # A, t of x -> A x + t


@dataclass(eq=False)
class _Node:
    """A pair of braces: what it is, the node that it is in, what was said of it so far."""

    kind: bytes
    parent: _Node | None = None
    fields: dict[bytes, bytes] = field(default_factory=dict)
    points: bytes | None = None
    corners: bytes | None = None
    motion: _Motion | None = None  # of itself and all that it is in, once `moved` says that it is known
    moved: bool = False


def parse_vrml(data: bytes, name: str) -> Mesh:
    """Return all faces of the text of a VRML97 file (.wrl) as one mesh.

    Read are the nodes IndexedFaceSet with their Coordinate, shared ones (DEF, USE) too, and the Transforms
    they are in; polygons are cut into fans. All children of a Switch or LOD count. Other nodes are passed
    over.

    Parameters
    ----------
    data : bytes
        The file's content.
    name : str
        The file, as errors name it.

    Raises
    ------
    FileFormatError
        If the file does not begin like VRML97, a number is damaged, braces do not match, `checked_mesh`
        refuses the result, or the file needs what is not read: prototypes, other files, shapes used twice.
    """
    if not data.startswith(b"#VRML V2.0"):
        raise FileFormatError(f"{name}: expected '#VRML V2.0' at the beginning of a VRML97 file")
    data = _TEXT_OR_COMMENT.sub(b"", data)
    try:
        faces = [face for face in _Scan().run(data) if face.corners and face.points is not None]
        vertices, counts = _points([face.points or b"" for face in faces])
        corners, sizes = _polygons([face.corners or b"" for face in faces], counts)
        _apply_transforms(faces, vertices, counts)
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from None
    return checked_mesh(vertices, fan(corners, sizes), name)


class _Scan:
    """One pass over the tokens, with the stack of open nodes."""

    def __init__(self) -> None:
        self.faces: list[_Node] = []
        self.open = [_Node(b"")]
        self.next = b""  # kind of the node that the next brace opens
        self.name = b""  # and its DEF name
        self.kinds: dict[bytes, bytes] = {}
        self.shared: dict[bytes, bytes] = {}

    def run(self, data: bytes) -> list[_Node]:
        for token in _TOKEN.finditer(data):
            brace, key, numbers, motion, motion_numbers, defined, kind, used, word = token.groups()
            if brace == b"{":
                self._push()
            elif brace == b"}":
                self._pop()
            elif key:
                self._list(key, numbers)
            elif word or kind:
                self._announce(word or kind, defined or b"")
            elif motion and self.open[-1].kind == b"Transform":
                self.open[-1].fields[motion] = motion_numbers
            elif used:
                self._use(used)
        if len(self.open) > 1:
            raise FileFormatError("truncated: a node is not closed")
        return self.faces

    def _announce(self, kind: bytes, name: bytes) -> None:
        if kind in (b"PROTO", b"Inline"):
            raise FileFormatError(f"{kind.decode()} nodes are not read")
        self.next, self.name = kind, name
        if name:
            self.kinds[name] = kind

    def _push(self) -> None:
        if len(self.open) > _DEPTH:
            raise FileFormatError(f"more than {_DEPTH} nodes within each other")
        node = _Node(self.next, self.open[-1])
        if node.kind == b"IndexedFaceSet":
            self.faces.append(node)
        if node.kind == b"Coordinate" and self.name:
            node.fields[b"DEF"] = self.name
        self.open.append(node)
        self.next = self.name = b""

    def _pop(self) -> None:
        if len(self.open) == 1:
            raise FileFormatError("a brace is closed that was never opened")
        self.open.pop()
        self.next = self.name = b""

    def _list(self, key: bytes, numbers: bytes) -> None:
        node = self.open[-1]
        if key == b"coordIndex" and node.kind == b"IndexedFaceSet":
            node.corners = numbers
        elif key == b"point" and node.kind == b"Coordinate" and node.parent is not None:
            node.parent.points = numbers
            if b"DEF" in node.fields:
                self.shared[node.fields[b"DEF"]] = numbers

    def _use(self, name: bytes) -> None:
        kind = self.kinds.get(name, b"Material")
        if kind == b"Coordinate":
            self.open[-1].points = self.shared.get(name)
        elif kind in (b"Shape", b"Group", b"Transform", b"IndexedFaceSet", b"Switch", b"LOD"):
            raise FileFormatError(f"{kind.decode()} nodes that are used twice are not read")


def _points(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of all lists, and how many each has."""
    # A number that no list may hold marks where one ends.
    numbers = _floats(b" nan ".join([*texts, b""]))
    ends = np.flatnonzero(np.isnan(numbers))
    if len(ends) != len(texts):
        raise FileFormatError("a coordinate is not a number")
    counts = np.diff(ends, prepend=-1) - 1
    if (counts % 3).any():
        raise FileFormatError("a list of points whose length is not a multiple of three")
    return numbers[~np.isnan(numbers)].reshape(-1, 3), counts // 3


def _floats(text: bytes) -> np.ndarray:
    text = text.translate(_SEPARATORS)
    pieces, begin = [np.empty(0)], 0
    while begin < len(text):
        end = text.find(b" ", begin + _PIECE)
        end = len(text) if end < 0 else end
        try:
            pieces.append(np.array(text[begin:end].split(), np.float64))
        except ValueError:
            raise FileFormatError("a coordinate is damaged") from None
        begin = end
    return np.concatenate(pieces)


def _polygons(texts: list[bytes], counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of all polygons, as rows of all points together, and corners per polygon."""
    # -1 ends a polygon; -2, which no list may hold, ends the polygons of a list.
    text = b" -1 -2 ".join([*texts, b""]).translate(_SEPARATORS)
    if text.translate(None, b"0123456789- ") or _NOT_AN_INTEGER.search(text):
        raise FileFormatError("a coordIndex that is not an integer")
    numbers = np.fromstring(text, np.int64, sep=" ") if text else np.empty(0, np.int64)
    owners = np.cumsum(numbers == -2)
    if (numbers < -2).any() or len(texts) != (owners[-1] if len(owners) else 0):
        raise FileFormatError("a coordIndex less than -1")
    kept = numbers != -2
    numbers, owners = numbers[kept], owners[kept]
    if (numbers >= counts[owners]).any():
        raise FileFormatError("a coordIndex beyond the last point")
    corner = numbers >= 0
    sizes = np.diff(np.flatnonzero(~corner), prepend=-1) - 1
    first = np.cumsum(counts) - counts
    return numbers[corner] + first[owners[corner]], sizes


def _apply_transforms(faces: list[_Node], vertices: np.ndarray, counts: np.ndarray) -> None:
    ends = np.cumsum(counts)
    for face, begin, end in zip(faces, ends - counts, ends, strict=True):
        motion = _whole_motion(face)
        if motion is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as not finite
                vertices[begin:end] = vertices[begin:end] @ motion[0].T + motion[1]


def _whole_motion(node: _Node) -> _Motion | None:
    """Return the product of all Transforms that the node is in, None if there are none."""
    if not node.moved:
        outer = _whole_motion(node.parent) if node.parent is not None else None
        own = _motion(node.fields) if node.kind == b"Transform" and node.fields else None
        if outer is not None and own is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                node.motion = outer[0] @ own[0], outer[0] @ own[1] + outer[1]
        else:
            node.motion = own if outer is None else outer
        node.moved = True
    return node.motion


def _motion(fields: dict[bytes, bytes]) -> _Motion:
    """Return A and t of x -> A x + t = T C R SR S SR^-1 C^-1 x (VRML97, 6.52)."""

    def numbers(key: bytes, default: tuple[float, ...]) -> np.ndarray:
        found = _floats(fields[key]) if key in fields else np.array(default)
        if len(found) != len(default) or not np.isfinite(found).all():
            raise FileFormatError(f"the {key.decode()} of a Transform is damaged")
        return found

    center, turn = numbers(b"center", (0, 0, 0)), _rotation(numbers(b"rotation", (0, 0, 1, 0)))
    tilt = _rotation(numbers(b"scaleOrientation", (0, 0, 1, 0)))
    with np.errstate(over="ignore", invalid="ignore"):
        linear = turn @ tilt @ np.diag(numbers(b"scale", (1, 1, 1))) @ tilt.T
        return linear, numbers(b"translation", (0, 0, 0)) + center - linear @ center


def _rotation(axis_and_angle: np.ndarray) -> np.ndarray:
    """Return the matrix of Rodrigues' formula; the unit matrix if the axis has no length."""
    largest = np.abs(axis_and_angle[:3]).max()
    if largest == 0:
        return np.eye(3)
    x, y, z = axis = axis_and_angle[:3] / largest
    x, y, z = axis / np.sqrt((axis**2).sum())
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = axis_and_angle[3]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
