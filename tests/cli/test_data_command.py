"""What there is, where it is, and one line when it is not."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from gmengine.cli.main import main
from gmengine.data import DATASETS


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Run the command line in this process, where no data are installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GMENGINE_DATA_DIR", raising=False)

    def run(*arguments):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


@pytest.fixture
def scans(tmp_path):
    """A folder of six clouds in two classes."""
    rng = np.random.default_rng(0)
    for name in ("chair", "stool"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        for i in range(10):
            np.savetxt(tmp_path / "scans" / name / f"{i}.xyz", rng.normal(size=(8, 3)))
    return tmp_path / "scans"


def test_the_list_names_every_data_set_its_licence_and_how_to_get_it(here):
    code, out, err = here("data", "list")
    assert (code, err) == (0, "")
    rows = out.splitlines()
    assert [line.split()[0] for line in rows[::2]] == list(DATASETS)
    assert all(max(len(word) for word in line.split()) > 3 for line in rows)
    assert "CC BY 4.0; available" in rows[1]
    assert "name a folder: clouds:FOLDER" in out


def test_the_list_as_json_can_be_worked_with(here):
    code, out, _ = here("data", "list", "--json")
    found = {each["name"]: each for each in json.loads(out)}
    assert code == 0
    assert list(found) == list(DATASETS)
    assert found["digits"]["available"] is True
    assert found["images"]["available"] is False
    assert found["kicad"]["install"] == DATASETS["kicad"].install


def test_info_counts_the_objects_of_every_part_and_class(here):
    code, out, err = here("data", "info", "digits")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[2].split(None, 1) == ["objects", "1,797 in 10 classes"]
    assert lines[-1].split() == ["all", "1,258", "180", "359"]
    assert lines[-2].split() == ["9", "126", "18", "36"]
    assert any(line.startswith("licence   CC BY 4.0") for line in lines)


def test_info_on_a_folder_says_options_and_takes_them(here, scans):
    code, out, err = here("data", "info", f"clouds:{scans}", "--option", "points=5", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["class_names"], found["dim"], found["options"]["points"]) == (["chair", "stool"], 3, 5)
    assert found["where"] == str(scans)
    assert np.sum(found["counts"]) == 20
    plain = here("data", "info", f"clouds:{scans}")[1]
    assert re.search(r"^option    points=1024: \w+", plain, re.MULTILINE)


def test_path_prints_the_place_or_exits_with_1_and_says_what_helps(here, scans):
    assert here("data", "path", f"clouds:{scans}")[:2] == (0, f"{scans}\n")
    assert here("data", "path", "digits")[:2] == (0, "part of the package\n")
    code, out, err = here("data", "path", f"kicad:{scans}")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert DATASETS["kicad"].install in err


def test_build_keeps_what_was_read(here, scans, tmp_path):
    code, out, err = here("data", "build", f"clouds:{scans}", "--option", "points=5")
    assert (code, err) == (0, "")
    (kept,) = (tmp_path / "cache" / "raw").glob("*.npz")
    assert out == f"clouds: 20 objects in 2 classes, kept in {kept}\n"
    assert here("data", "build", f"clouds:{scans}", "--option", "points=5")[1] == out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("data",), "required: COMMAND"),
        (("data", "fly"), "'fly'"),
        (("data", "info"), "required: DATASET"),
        (("data", "info", "letters"), "unknown data set 'letters'; known are digits, "),
        (("data", "path", "letters"), "unknown data set 'letters'"),
        (("data", "path", "mnist:"), "expected a folder after the colon"),
        (("data", "info", "mnist:nowhere"), "mnist: no data found .*nowhere"),
        (("data", "build", "digits", "--option", "points"), "--option: expected OPTION=VALUE, got 'points'"),
        (
            ("data", "build", "digits", "--option", "points=3"),
            "digits: unknown option 'points'; known are none",
        ),
        (("data", "list", "--js"), "--js"),
    ],
)
def test_a_mistake_about_data_is_one_line(here, arguments, words):
    code, out, err = here(*arguments)
    assert code == 2
    assert out == ""
    assert re.fullmatch(r"gmengine: [^\n]+\n", err), err
    assert re.search(words, err), err


def test_without_a_cache_building_ahead_is_refused(here, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "file" / "below"))
    code, _, err = here("data", "build", "digits")
    assert code == 2
    assert "GMENGINE_CACHE_DIR" in err
