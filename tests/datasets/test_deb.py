"""Files of Debian packages."""

import gzip
import io
import lzma
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.data.formats import deb
from gmengine.data.formats.deb import deb_members
from gmengine.errors import FileFormatError

FILES = {"usr/share/a.wrl": b"first", "usr/share/b.txt": b"x" * 700, "usr/c.wrl": b"c" * 1500}
PACK = {".xz": lzma.compress, ".gz": gzip.compress, "": bytes}


def tar(files, form=tarfile.GNU_FORMAT, kind=tarfile.REGTYPE, prefix="./"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        folder = tarfile.TarInfo("./usr")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size, info.type = len(data), kind
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def ar(members):
    parts = [b"!<arch>\n"]
    for name, data in members:
        parts.append(b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), 0, 0, 0, b"100644", len(data)))
        parts += [data, b"\n" * (len(data) % 2)]
    return b"".join(parts)


def package(files, suffix=".xz", **options):
    content = tar(files, **options)
    members = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", b"123"),
        (f"data.tar{suffix}", PACK[suffix](content)),
    ]
    return ar(members)


def read(tmp_path, data, wanted=lambda name: True, **options):
    path = tmp_path / "p.deb"
    path.write_bytes(data)
    return list(deb_members(path, wanted, **options))


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_wanted_files_come_in_the_order_of_the_package(tmp_path, suffix, form):
    found = read(tmp_path, package(FILES, suffix, form=form), lambda name: name.endswith(".wrl"))
    assert found == [(name, data) for name, data in FILES.items() if name.endswith(".wrl")]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_are_read_in_every_dialect(tmp_path, form):
    name = "a" * 90 + "/" + "b" * 90 + ".wrl"
    assert read(tmp_path, package({name: b"1"}, form=form)) == [(name, b"1")]


def test_a_name_with_letters_of_other_scripts_is_read(tmp_path):
    assert read(tmp_path, package({"ç/日本.wrl": b"1"}, form=tarfile.PAX_FORMAT)) == [("ç/日本.wrl", b"1")]


def test_links_and_folders_are_passed_over(tmp_path):
    assert read(tmp_path, package({"a.wrl": b""}, kind=tarfile.SYMTYPE)) == []


def test_pieces_of_any_size_give_the_same_files(tmp_path, monkeypatch):
    for suffix in PACK:
        monkeypatch.setattr(deb, "_PIECE", 7)
        assert read(tmp_path, package(FILES, suffix)) == list(FILES.items())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a Debian package"),
        (ar([]), "header of a member"),
        (ar([("control.tar.gz", b"12")]), "format 2"),
        (ar([("debian-binary", b"3.0\n")]), "format 2"),
        (ar([("debian-binary", b"2.0\n")]), "header of a member"),
        (ar([("debian-binary", b"2.0\n"), ("data.tar.zst", b"12")]), "only .xz and .gz"),
        (ar([("debian-binary", b"2.0\n"), ("data.tar.xz", b"12345678" * 9)]), "damaged"),
        (ar([("debian-binary", b"2.0\n"), ("data.tar.gz", b"12345678" * 9)]), "damaged"),
        (ar([("debian-binary", b"2.0\n"), ("data.tar.xz", b"")]), "truncated"),
        (ar([("debian-binary", b"2.0\n"), ("data.tar", b"7" * 512)]), "damaged"),
        (package(FILES)[:-200], "truncated"),
        (package({"../a.wrl": b""}), "refused"),
        (package({"a/../../b.wrl": b""}), "refused"),
        (package({"/etc/a.wrl": b""}, prefix=""), "refused"),
        (package({"a.wrl": bytes(2000)}), "2000 bytes"),
    ],
)
def test_a_damaged_package_is_refused_with_its_name_and_the_reason(tmp_path, data, reason):
    with pytest.raises(FileFormatError, match=rf"p\.deb: .*{reason}"):
        read(tmp_path, data, most=1999)


def test_a_package_that_inflates_without_end_is_refused(tmp_path):
    bomb = package({"zeros": bytes(deb._LEAST)})
    assert len(bomb) * 200 < deb._LEAST
    with pytest.raises(FileFormatError, match="inflated at most"):
        read(tmp_path, bomb, lambda name: False)


def test_a_size_that_only_the_header_knows_is_refused_before_it_is_believed(tmp_path):
    content = bytearray(tar({"a.wrl": b"1"}))
    header = content.index(b"./a.wrl")
    content[header + 124 : header + 136] = b"\x80" + (2**60).to_bytes(11, "big")
    content[header + 148 : header + 156] = b" " * 8
    content[header + 148 : header + 156] = b"%06o\0 " % sum(content[header : header + 512])
    data = ar([("debian-binary", b"2.0\n"), ("data.tar", bytes(content))])
    with pytest.raises(FileFormatError, match="promises more"):
        read(tmp_path, data, lambda name: False)


def test_a_missing_package_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(deb_members(tmp_path / "none.deb", lambda name: True))


@given(st.data())
def test_no_bytes_of_a_package_give_any_other_error(tmp_path_factory, data):
    suffix = data.draw(st.sampled_from(["", "", ".xz", ".gz"]))
    whole = bytearray(package(FILES, suffix, form=data.draw(st.sampled_from([0, 1, 2]))))
    kind = data.draw(st.sampled_from(["cut", "changed", "any"]))
    if kind == "cut":
        whole = whole[: data.draw(st.integers(0, len(whole)))]
    elif kind == "changed":
        for _ in range(data.draw(st.integers(1, 6))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    else:
        whole = b"!<arch>\n" + data.draw(st.binary(max_size=200))
    said = "p.deb: "
    try:
        read(tmp_path_factory.getbasetemp(), bytes(whole))
    except FileFormatError as error:
        said = str(error)
    assert "p.deb: " in said
