"""What the commands print and write when all goes well."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from gmengine import __version__
from gmengine.data import digits, digits_images, save_dataset
from gmengine.training import RunConfig, accuracy, load, load_checkpoint, read_lines


def lines_without_times(folder):
    lines = read_lines(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if not k.endswith("seconds")} for line in lines]


def test_help_is_there_at_once_without_compiled_code():
    code = "import sys, gmengine.cli.main; print({'numba', 'scipy', 'rich'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "set()\n"


def test_help_names_every_command_and_every_default(gmengine_command, tmp_path):
    top = gmengine_command("--help", cwd=tmp_path)
    assert top.returncode == 0
    assert re.findall(r"^    (\w+)  ", top.stdout, re.MULTILINE) == [
        "train",
        "evaluate",
        "predict",
        "fit",
        "data",
        "plot",
        "compile",
        "info",
    ]
    _, _, options = gmengine_command("train", "--help", cwd=tmp_path).stdout.partition("options:")
    train = " ".join(options.split())
    for name in ("epochs", "batch_size", "lr", "schedule", "weight_decay", "max_norm", "average", "seed"):
        flag = re.search(rf"--{name.replace('_', '-')} .*?\(default: (.*?)\)", train)
        assert flag is not None, name
        assert flag[1] == str(getattr(RunConfig(), name))


def test_version(gmengine_command, tmp_path):
    assert gmengine_command("--version", cwd=tmp_path).stdout == f"gmengine {__version__}\n"


def test_training_prints_a_header_a_line_per_epoch_and_the_accuracy(gmengine_command, quick, tmp_path):
    done = gmengine_command("train", "digits", *quick, "--epochs", 2, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\r" not in done.stdout
    *header, first, second, last = done.stdout.splitlines()
    assert header == [
        "1/8 -> 4/4 -> 10 on digits: 96 of 1,258 training, 180 validation, 359 test samples",
        "1560 parameters, float32, cpu, 1 thread, run runs/digits",
    ]
    pattern = r"epoch {}/2  loss [\d.]+  accuracy [\d.]+  validation [\d.]+  \d+ samples/s  \d+:\d\d left"
    assert re.fullmatch(pattern.format(1), first)
    assert re.fullmatch(pattern.format(2), second)
    run = tmp_path / "runs" / "digits"
    *epochs, test = read_lines(run / "metrics.jsonl")
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert last == f"test accuracy {test['test']['accuracy']:.4f} (n=359)"
    net, params, state, config = load(run)
    assert accuracy(net, params, state, digits(components=8, cache=False)[2]) == test["test"]["accuracy"]
    assert json.loads((run / "config.json").read_text()) == config.to_json()


def test_one_seed_gives_one_run_and_another_seed_another(gmengine_command, quick, finished, tmp_path):
    for seed, out in ((0, "a"), (1, "b")):
        flags = ("--epochs", 3, "--seed", seed, "--out", out)
        assert gmengine_command("train", "digits", *quick, *flags, cwd=tmp_path).returncode == 0
    assert lines_without_times(tmp_path / "a") == lines_without_times(finished)
    assert lines_without_times(tmp_path / "b") != lines_without_times(finished)
    with np.load(tmp_path / "a/checkpoint.npz") as a, np.load(finished / "checkpoint.npz") as b:
        assert a.files == b.files
        for name in set(a.files) - {"header"}:
            assert a[name].tobytes() == b[name].tobytes(), name


def test_a_store_is_trained_on_by_its_path_and_flags_reach_the_configuration(
    gmengine_command, tmp_path, finished
):
    save_dataset(tmp_path / "mine.npz", digits(components=8, cache=False)[1])
    flags = ["--layers", "1/8 -> 4/4 -> 10", "--epochs", 1, "--schedule", "constant", "--lr", 0.005]
    flags += ["--network", "radius=2.0", "--network", "bias=true", "--threads", 1, "--batch-size", 50]
    done = gmengine_command("train", "mine.npz", *flags, cwd=tmp_path, GMENGINE_DTYPE="float64")
    assert (done.returncode, done.stderr) == (0, "")
    _, _, _, config = load(tmp_path / "runs" / "mine")
    assert config == RunConfig(
        dataset=str(tmp_path / "mine.npz"),
        layers="1/8 -> 4/4 -> 10",
        network={"radius": 2.0, "bias": True},
        epochs=1,
        batch_size=50,
        lr=0.005,
        schedule="constant",
        dtype="float64",
    )


def test_evaluate_prints_the_accuracy_of_the_training_and_of_every_class(
    gmengine_command, finished, tmp_path
):
    done = gmengine_command("evaluate", finished, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    head, titles, *rows, last = done.stdout.splitlines()
    assert head == "model of epoch 3 on digits, split test"
    assert titles.split() == ["class", "accuracy", "correct", "n"]
    accuracy = read_lines(finished / "metrics.jsonl")[-1]["test"]["accuracy"]
    assert last == f"test accuracy {accuracy:.4f} (n=359)"
    table = [row.split() for row in rows]
    assert [row[0] for row in table] == list("0123456789")
    assert sum(int(row[2]) for row in table) == round(accuracy * 359)
    assert sum(int(row[3]) for row in table) == 359
    assert all(float(row[1]) == pytest.approx(int(row[2]) / int(row[3]), abs=5e-5) for row in table)


def test_evaluate_takes_other_data_whole_and_any_split(gmengine_command, finished, tmp_path):
    save_dataset(tmp_path / "valid.npz", digits(components=8, cache=False)[1])
    other = gmengine_command("evaluate", finished / "checkpoint.npz", "--data", "valid.npz", cwd=tmp_path)
    assert other.stdout.splitlines()[-1].startswith("all accuracy ")
    assert other.stdout.endswith(" (n=180)\n")
    own = gmengine_command("evaluate", finished, "--split", "valid", cwd=tmp_path)
    expected = read_lines(finished / "metrics.jsonl")[2]["valid_accuracy"]
    assert own.stdout.splitlines()[-1] == f"valid accuracy {expected:.4f} (n=180)"
    assert own.stdout.splitlines()[-1].split()[2] == other.stdout.splitlines()[-1].split()[2]


def test_predict_names_the_class_of_every_image(gmengine_command, finished, tmp_path):
    images, _ = digits_images()
    np.save(tmp_path / "images.npy", images[:4])
    np.save(tmp_path / "one.npy", (images[2] * 255).astype(np.uint8))
    done = gmengine_command("predict", finished, "images.npy", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    title, *rows = (line.split("\t") for line in done.stdout.splitlines())
    assert title == ["index", "class", "probability"]
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert all(row[1] in set("0123456789") and 0.1 <= float(row[2]) <= 1 for row in rows)
    (one,) = json.loads(gmengine_command("predict", finished, "one.npy", "--json", cwd=tmp_path).stdout)
    assert list(one) == ["index", "class", "probability"]
    assert one["index"] == 0


def test_predict_agrees_with_evaluate_on_a_store(gmengine_command, finished, tmp_path):
    _, _, test = digits(components=8, cache=False)
    save_dataset(tmp_path / "test.npz", test)
    rows = json.loads(gmengine_command("predict", finished, "test.npz", "--json", cwd=tmp_path).stdout)
    hits = [row["class"] == test.class_names[k] for row, k in zip(rows, test.labels, strict=True)]
    assert sum(hits) / 359 == read_lines(finished / "metrics.jsonl")[-1]["test"]["accuracy"]


def test_going_on_with_a_finished_run_says_its_accuracy_again(gmengine_command, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    done = gmengine_command("train", "--resume", "run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "resumed after epoch 3" in done.stdout.splitlines()
    assert lines_without_times(tmp_path / "run") == lines_without_times(finished)
    assert load_checkpoint(tmp_path / "run").progress.epoch == 3


def test_info_carries_what_a_report_needs(gmengine_command, tmp_path, cache):
    done = gmengine_command("info", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(found) == ["versions", "machine", "gpu", "folders", "data sets", "environment"]
    assert found["versions"]["gmengine"] == __version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["machine"]["threads"] == 1
    assert found["folders"]["cache"] == str(cache)
    assert "digits" in found["data sets"]
    assert found["environment"]["GMENGINE_NUM_THREADS"] == "1"
    plain = gmengine_command("info", cwd=tmp_path).stdout
    assert plain.splitlines()[0] == "versions"
    assert str(cache) in plain


def test_a_reader_that_leaves_early_is_no_error_message(start, tmp_path):
    with start("info", cwd=tmp_path) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 2


def test_compile_runs_every_kernel_and_keeps_what_it_compiled(gmengine_command, tmp_path):
    done = gmengine_command("compile", "--dim", 2, "--dtype", "float64", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *ops, last = done.stdout.splitlines()
    named = [re.fullmatch(r"K=2 float64  (\S.*?) +[\d.]+ s", line)[1] for line in ops]
    assert {"convolve", "evaluate", "relu", "reduce (tree_hem)", "product", "render"} <= set(named)
    assert re.match(r"[\d.]+ s in all", last)


def test_compile_refuses_dimensions_that_nobody_has(gmengine_command, tmp_path):
    done = gmengine_command("compile", "--dim", 0, cwd=tmp_path)
    assert done.returncode == 2
    assert "invalid choice: 0" in done.stderr
