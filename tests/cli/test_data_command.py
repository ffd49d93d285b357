"""What there is, where it is, and one line when it is not."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from gmengine.cli.main import main
from gmengine.data import DATASETS
from gmengine.errors import DataError
from gmengine.nn import Network
from gmengine.training import RunConfig, splits


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
        (("data", "info", "images:~no_such_user_here/x"), "images: no data found .*no_such_user_here"),
        (
            ("data", "info", "synth-furniture", "--option", "seed=abc"),
            "expected seed to be an integer, got 'abc'",
        ),
        (("data", "info", "digits", "--option", "x=" + "[" * 9000), "digits: unknown option 'x'"),
        (("data", "list", "--js"), "--js"),
    ],
)
def test_a_mistake_about_data_is_one_line(here, arguments, words):
    code, out, err = here(*arguments)
    assert code == 2
    assert out == ""
    assert re.fullmatch(r"gmengine: [^\n]+\n", err), err
    assert re.search(words, err), err


def test_a_reader_is_told_nothing_else_than_it_expects(here, scans):
    for option, words in (
        ("workers=0", "workers to be an integer >= 1, got 0"),
        ("normalise=False", "normalise to be true or false, got 'False'"),
        ("points=1e3", "points to be an integer, got 1000.0"),
    ):
        assert here("data", "info", f"clouds:{scans}")[0] == 0
        code, _, err = here("data", "info", f"clouds:{scans}", "--option", option)
        assert (code, err) == (2, f"gmengine: error: clouds: expected {words}\n")


def test_without_a_cache_building_ahead_is_refused(here, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "file" / "below"))
    code, _, err = here("data", "build", "digits")
    assert code == 2
    assert "GMENGINE_CACHE_DIR" in err


def test_data_of_other_classes_are_refused_before_anything_is_fitted(scans, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("fitted in vain")

    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(splits, "load", refuse)
    net = Network((1, 3), (4, None), dim=3)
    other = RunConfig(dataset=f"clouds:{scans}", layers="1/4 -> 3")
    with pytest.raises(DataError, match="2 classes, the network 3"):
        splits.load_splits(other, net)
    task = splits.Task(2, ("a", "b", "c"), (1, 1, 1), 0)
    with pytest.raises(DataError, match="in 3-D, the run a, b, c in 2-D"):
        splits.load_part(RunConfig(), task, net, f"clouds:{scans}")
