"""gmengine plot: a picture of objects beside their fits, or one line of advice."""

import numpy as np
import pytest

from gmengine.cli import plot
from gmengine.cli.main import main
from gmengine.data.collection import TEST, TRAIN, Collection
from gmengine.errors import DataError
from gmengine.fitting.clouds import Clouds

QUICK = ("--components", "4", "--count", "2", "--dpi", "20", "--threads", "1")


def test_a_picture_of_digits_is_written_and_what_was_fitted_is_said(tmp_path, capsys):
    out = tmp_path / "digits.png"
    assert (
        main(["plot", "digits", "--out", str(out), *QUICK, "--method", "kmeans", "--method", "kmeans+em"])
        == 0
    )
    assert out.read_bytes()[:4] == b"\x89PNG"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["kmeans", "kmeans+em", str(out)]
    assert "log_likelihood" in lines[0]
    assert "image.rmse" in lines[0]
    assert lines[2] == f"{out}: 2 objects of digits (CC BY 4.0)"
    assert list(tmp_path.iterdir()) == [out]
    again = tmp_path / "again.svg"
    assert main(["plot", "digits", "--out", str(again), *QUICK]) == 0
    assert b"<svg" in again.read_bytes()


def test_a_picture_of_point_clouds_is_written(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    clouds = Clouds.pack([rng.random((30, 3)) for _ in range(3)])
    made = Collection(clouds, [0, 1, 0], ("a", "b"), [TEST] * 3, "boxes", "drawn at random", "CC0")

    class Raw:
        name = "boxes"

        def __init__(self, spec):
            assert spec == "boxes:somewhere"

        def collection(self):
            return made

    monkeypatch.setattr(plot, "RawData", Raw)
    out = tmp_path / "boxes.png"
    assert main(["plot", "boxes:somewhere", "--out", str(out), *QUICK]) == 0
    assert "reconstruction.chamfer" in capsys.readouterr().out
    assert out.exists()


def test_objects_are_of_different_classes_in_turn():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 1])
    parts = np.array([TEST] * 8 + [TRAIN], np.int8)
    images = np.arange(9.0)[:, None, None]
    collection = Collection(images, labels, ("a", "b", "c"), parts, "numbers", "", "")
    chosen = plot.choose(collection, TEST, 7, seed=1)
    assert chosen.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert len(np.unique(chosen.objects)) == 7
    np.testing.assert_array_equal(chosen.objects, plot.choose(collection, TEST, 7, seed=1).objects)
    assert {plot.choose(collection, TEST, 1, seed=s).objects.item() for s in range(20)} == {0.0, 1.0, 2.0}
    assert len(plot.choose(collection, TEST, 99, seed=0)) == 8
    with pytest.raises(DataError, match="nothing in this part"):
        plot.choose(collection[parts == TRAIN], TEST, 1, seed=0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("letters", "--out", "a.png"), "unknown data set 'letters'"),
        (("digits", "--out", "a.bmp"), "ends in .png"),
        (("digits", "--out", "a.png", "--count", "0"), "--count"),
        (("digits", "--out", "a.png", "--components", "0"), "n_components"),
        (("digits", "--out", "a.png", "--method", "magic"), "'magic'"),
        (("digits", "--out", "missing/a.png", *QUICK), "missing/"),
        (("digits", "--out", "a.png", "--seed", "-1"), "--seed"),
        (("digits", "--out", "a.png", "--dpi", "100000"), "--dpi"),
        (("digits", "--out", "a.png", "--count", "2000"), "--count: expected"),
        (("digits",), "--out"),
    ],
)
def test_mistakes_about_pictures_are_one_line(arguments, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["plot", *arguments])
    except SystemExit as error:
        code = error.code
    assert code == 2
    complaint = capsys.readouterr().err
    assert text in complaint
    assert complaint.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("gmengine.plot._matplotlib.import_module", missing)
    assert main(["plot", "digits", "--out", str(tmp_path / "a.png"), *QUICK]) == 2
    assert "pip install 'gmengine[plot]'" in capsys.readouterr().err


def test_a_picture_that_matplotlib_refuses_is_one_line(tmp_path, monkeypatch, capsys):
    class Figure:
        def savefig(self, *_, **__):
            raise ValueError("Image size of 9x99999 pixels is too large")

    monkeypatch.setattr("gmengine.plot.comparison", lambda *_, **__: Figure())
    assert main(["plot", "digits", "--out", str(tmp_path / "a.png"), *QUICK]) == 2
    assert "--count, --dpi: Image size of 9x99999 pixels" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
