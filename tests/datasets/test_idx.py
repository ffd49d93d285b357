"""Bytes, plain or in gzip files, and the IDX arrays that are made of them."""

import gzip
import os
import re
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from raw_files import IDX_CODES, attempt, idx_bytes, noise_or_damage

from gmengine.data.formats._bytes import read_bytes
from gmengine.data.formats.idx import read_idx
from gmengine.errors import FileFormatError

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
SAMPLE = idx_bytes(np.arange(24, dtype=np.int16).reshape(2, 3, 4))


@given(st.lists(st.binary(max_size=200), max_size=4))
@one_folder
def test_plain_and_gzip_files_of_any_number_of_members_give_their_content(tmp_path, pieces):
    content = b"x" + b"".join(pieces)  # not to begin like a gzip file
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed").write_bytes(b"".join(map(gzip.compress, (b"x", *pieces))))
    assert read_bytes(tmp_path / "plain", len(content)) == content
    assert read_bytes(str(tmp_path / "packed"), len(content)) == content
    for name in ("plain", "packed"):
        with pytest.raises(FileFormatError, match=rf"{name}: .*{len(content) - 1}"):
            read_bytes(tmp_path / name, len(content) - 1)


def test_a_gzip_file_cut_off_anywhere_is_called_truncated(tmp_path):
    whole = gzip.compress(b"some text " * 9) + gzip.compress(b"and more")
    member = len(gzip.compress(b"some text " * 9))
    for length in range(2, len(whole)):
        (tmp_path / "cut.gz").write_bytes(whole[:length])
        if length == member:
            assert read_bytes(tmp_path / "cut.gz") == b"some text " * 9
        else:
            with pytest.raises(FileFormatError, match=r"cut\.gz: truncated"):
                read_bytes(tmp_path / "cut.gz")


@pytest.mark.parametrize("extra", [b"\0", b"garbage", b"\x1e\x8b"])
def test_bytes_behind_the_gzip_data_are_refused(tmp_path, extra):
    (tmp_path / "long.gz").write_bytes(gzip.compress(b"text") + extra)
    with pytest.raises(FileFormatError, match=r"long\.gz: other bytes follow"):
        read_bytes(tmp_path / "long.gz")


def test_a_wrong_checksum_in_a_gzip_file_is_noticed(tmp_path):
    whole = bytearray(gzip.compress(b"text"))
    whole[-6] ^= 1
    (tmp_path / "wrong.gz").write_bytes(whole)
    with pytest.raises(FileFormatError, match=r"wrong\.gz: damaged"):
        read_bytes(tmp_path / "wrong.gz")


@given(noise_or_damage(gzip.compress(b"some text " * 9, mtime=0) + gzip.compress(b"and more", mtime=0)))
@one_folder
def test_damaged_gzip_files_are_refused_or_complete(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    found = attempt(read_bytes, tmp_path / "file")
    if found is not None:
        assert found == (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)


def test_a_small_file_that_inflates_without_end_is_stopped_early(tmp_path):
    bomb = gzip.compress(bytes(2**24))
    (tmp_path / "bomb.gz").write_bytes(bomb)
    assert len(bomb) < 20_000
    with pytest.raises(FileFormatError, match=r"bomb\.gz: inflates to more than the 1000 bytes"):
        read_bytes(tmp_path / "bomb.gz", 1000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_pipes_are_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFormatError, match=r"pipe: not a regular file"):
        read_bytes(tmp_path / "pipe")


def test_missing_files_and_folders_are_errors_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "missing")
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        read_bytes(tmp_path)


@given(st.data(), st.sampled_from(sorted(IDX_CODES)), st.booleans())
@one_folder
def test_idx_arrays_of_every_type_come_back(tmp_path, data, dtype, packed):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    array = data.draw(hnp.arrays(dtype, shape))
    content = idx_bytes(array)
    (tmp_path / "file").write_bytes(gzip.compress(content) if packed else content)
    found = read_idx(tmp_path / "file")
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no header"),
        (b"\0\0\x08", "no header"),
        (b"\0\1\x08\1" + bytes(4), "begins with the bytes 00 01 08 01"),
        (b"\0\0\x0a\1" + bytes(4), "not an IDX file"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file"),
        (b"\0\0\x08\3" + bytes(8), "3 axes in a file of 12 bytes"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "255 axes"),
        (SAMPLE[:-1], r"truncated: \(2, 3, 4\) of int16 are 48 bytes, found 47"),
        (SAMPLE + b"\0", "longer than its header says"),
        (b"\0\0\x0e\4" + struct.pack(">4I", *[2**32 - 1] * 4), "truncated"),
        (b"\0\0\x08\3" + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1), "no array has the shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_idx_files_that_are_none_are_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "file.idx").write_bytes(content)
    with pytest.raises(FileFormatError, match=rf"file\.idx: .*{reason}"):
        read_idx(tmp_path / "file.idx")


@given(noise_or_damage(SAMPLE, gzip.compress(SAMPLE)))
@one_folder
def test_damaged_idx_files_are_refused_or_are_what_they_say(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    found = attempt(read_idx, tmp_path / "file")
    if found is not None:
        # By bytes, for a damaged NaN is a NaN.
        inflated = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        assert found.astype(found.dtype.newbyteorder(">")).tobytes() == inflated[4 + 4 * found.ndim :]
