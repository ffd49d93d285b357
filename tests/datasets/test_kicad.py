"""Electronic parts from folders and packages made here; the real ones where they are installed."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from test_deb import package
from test_vrml import WRL

from gmengine.data import RawData, _kicad_files, kicad, raw
from gmengine.data.collection import TEST, TRAIN, VALID
from gmengine.errors import ArgumentError, DataError, FileFormatError
from gmengine.testing.tolerances import tolerance

PARTS = [
    *(f"Connector_PinHeader_2.54mm.3dshapes/PinHeader_1x{n:02}_P2.54mm_Vertical.wrl" for n in range(1, 9)),
    *(f"Connector_PinHeader_1.00mm.3dshapes/PinHeader_{n}x40_P1.00mm_Horizontal.wrl" for n in range(1, 4)),
    *(
        f"Package_DIP.3dshapes/DIP-{n}_W7.62mm{style}.wrl"
        for n in (4, 8, 14)
        for style in ("", "_Socket", "_SMD")
    ),
    "Diode_SMD.3dshapes/D_0603_1608Metric.wrl",
    "Valve.3dshapes/Valve_ECC-83-2.wrl",
]
BROKEN = "Diode_SMD.3dshapes/D_0402_1005Metric.wrl"
KNOWN = [part for part in sorted(PARTS) if not part.startswith("Valve")]


def model(index):
    return WRL.replace(b"0.5", b"0.%d" % (index + 1))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "cache"))
    for index, part in enumerate([*PARTS, BROKEN]):
        path = tmp_path / "models" / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no model" if part == BROKEN else model(index))
    return tmp_path / "models"


@pytest.fixture
def deb_file(place, tmp_path):
    files = {f"usr/share/kicad/3dmodels/{part}": model(index) for index, part in enumerate(PARTS)}
    files["usr/share/doc/readme.wrl"] = b"no model, in no library"
    (tmp_path / "kicad-packages3d_1_all.deb").write_bytes(package(files))
    return tmp_path / "kicad-packages3d_1_all.deb"


def read(place, **options):
    return kicad.kicad(place, **{"workers": 1, "points": 32, **options})


def test_classes_follow_from_the_libraries_and_families_from_the_names():
    assert len(kicad.CLASS_NAMES) == 16
    names = [None if c is None else kicad.CLASS_NAMES[c] for c in map(kicad.class_of, PARTS)]
    assert names == ["pin_header"] * 11 + ["dip"] * 9 + ["diode", None]
    assert kicad.class_of("Package_SO.3dshapes/a.wrl") != kicad.class_of("Package_SON.3dshapes/a.wrl")
    assert kicad.class_of("Capacitor_Tantalum_SMD.3dshapes/a.wrl") == kicad.CLASS_NAMES.index("capacitor")
    one, other = "A.3dshapes/P_1x02_P2.54mm_V.wrl", "B.3dshapes/P_2x17_P1mm_V.wrl"
    assert kicad.family_of(one) == kicad.family_of(other) == "P_#x#_P#mm_V"


def test_a_folder_and_a_package_give_the_same_parts(place, deb_file):
    whole = read(place)
    assert len(whole) == len(KNOWN)
    assert whole.class_names == kicad.CLASS_NAMES
    assert whole.checksum() == read(deb_file).checksum()
    assert kicad.locate(deb_file.parent) == deb_file  # a folder that holds the package is as good
    for k in range(len(whole)):
        points = whole.objects.one(k).astype(np.float64)
        assert points.shape == (32, 3)
        assert np.abs(points.mean(axis=0)).max() <= tolerance("sum", "float32", 32)
        assert abs(np.sqrt((points**2).sum(axis=1).max()) - 1) <= tolerance("elementwise", "float32")


def test_no_family_is_in_two_parts_and_a_class_of_three_families_is_in_all(place):
    whole = read(place)
    families = np.array([kicad.family_of(part) for part in KNOWN])
    for family in set(families):
        assert len(set(whole.parts[families == family])) == 1
    dips = whole.parts[whole.labels == kicad.CLASS_NAMES.index("dip")]
    assert set(dips) == {TRAIN, VALID, TEST}


def test_a_random_split_warns_and_takes_the_shares_of_every_class(place):
    with pytest.warns(UserWarning, match="one family"):
        whole = read(place, split="random")
    headers = whole.parts[whole.labels == kicad.CLASS_NAMES.index("pin_header")]
    assert [(headers == part).sum() for part in (TRAIN, VALID, TEST)] == [8, 1, 2]


def test_a_family_split_does_not_warn(place):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(place)


def test_several_processes_give_the_bits_of_one(deb_file, monkeypatch, caplog):
    monkeypatch.setattr(_kicad_files, "_TOGETHER", 3 * len(WRL))  # several batches
    alone = _kicad_files._parsed(deb_file, 16, 5, 1)
    together = _kicad_files._parsed(deb_file, 16, 5, 2)
    assert len(_kicad_files._by_processes(deb_file, 16, 5, 2)) == len(PARTS)
    assert alone[0] == together[0] == sorted(PARTS)
    np.testing.assert_array_equal(alone[1], together[1])
    assert not caplog.records  # others were started, and did it


def test_where_no_other_process_can_be_started_one_does_it(deb_file, monkeypatch, caplog):
    def broken(*_):
        raise _kicad_files.BrokenProcessPool

    monkeypatch.setattr(_kicad_files, "_by_processes", broken)
    assert _kicad_files._parsed(deb_file, 16, 5, 2)[0] == sorted(PARTS)
    assert "parsed by one process" in caplog.text


def test_a_cloud_depends_on_the_seed_and_its_own_model(place):
    whole, other = read(place), read(place, seed=1)
    assert whole.checksum() != other.checksum()
    np.testing.assert_array_equal(whole.parts, other.parts)
    (place / PARTS[0]).unlink()
    fewer = read(place)
    kept = [KNOWN.index(part) for part in KNOWN if part != PARTS[0]]
    np.testing.assert_array_equal(fewer.objects.points, whole.objects[kept].points)


def test_parts_are_kept_once_until_a_model_changes(place, monkeypatch):
    def data():
        return RawData(f"kicad:{place}", {"workers": 1, "points": 32})

    first = data().collection(keep=True)
    assert len(list((place.parent / "cache").rglob("*.npz"))) == 1

    def refuse(*_):
        raise AssertionError("parsed again")

    monkeypatch.setattr(_kicad_files, "_parsed", refuse)
    assert data().collection().checksum() == first.checksum()
    (place / PARTS[0]).write_bytes(model(50) + b" ")
    with pytest.raises(AssertionError, match="parsed again"):
        data().collection()


def test_an_interruption_leaves_nothing_behind(place, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    for module, name in ((_kicad_files, "parse_vrml"), (raw, "write_npz")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                RawData(f"kicad:{place}", {"workers": 1, "points": 32}).collection(keep=True)
        assert [path for path in (place.parent / "cache").glob("**/*") if path.is_file()] == []


def test_a_model_that_cannot_be_read_is_passed_over_with_a_warning_in_the_log(place, caplog):
    assert len(read(place)) == len(KNOWN)
    assert re.search(rf"passed over: {re.escape(BROKEN)}: expected '#VRML V2.0'", caplog.text)


def test_missing_parts_are_an_error_with_both_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(kicad, "_USUAL", (str(tmp_path / "none"),))
    monkeypatch.delenv("GMENGINE_DATA_DIR", raising=False)
    with pytest.raises(
        DataError, match=r"apt-get install kicad-packages3d.*apt-get download kicad-packages3d"
    ):
        kicad.kicad()
    (tmp_path / "Valve.3dshapes").mkdir()
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="no models of parts of known classes"):
        read(tmp_path)


def test_a_damaged_package_is_refused_and_leaves_nothing(deb_file):
    deb_file.write_bytes(deb_file.read_bytes()[:-100])
    with pytest.raises(FileFormatError, match=r"kicad-packages3d_1_all\.deb: truncated"):
        read(deb_file)
    assert not (deb_file.parent / "cache").exists()


@pytest.mark.parametrize("options", [{"split": "none"}, {"points": 0}, {"seed": -1}, {"workers": 0}])
def test_options_of_the_parts_that_are_none_are_refused(tmp_path, options):
    with pytest.raises(ArgumentError, match=f"expected {next(iter(options))}"):
        kicad.kicad(tmp_path, **options)


INSTALLED = Path("/usr/share/kicad/3dmodels")


@pytest.mark.skipif(not INSTALLED.exists(), reason="the package kicad-packages3d is not installed")
def test_an_installed_library_is_read_without_a_refusal():
    library = sorted(INSTALLED.glob("Package_DIP.3dshapes/*.wrl"))[:20]
    batch = [(path.name, path.read_bytes()) for path in library]
    assert all(isinstance(cloud, np.ndarray) for _, cloud in _kicad_files._clouds(batch, 8, 0))
