"""The pages about the testing kit: every Python block runs, in order, and finds what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gmengine.testing import laws, strategies

DOCS = Path(__file__).parents[2] / "docs"


def run(page):
    """Run the Python blocks of a page one after the other; return their names and how many there were."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    names: dict = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return names, len(blocks)


def test_the_page_of_the_kit_runs(capsys):
    names, count = run("testing.md")
    assert count >= 7
    assert names["report"].violated == ()
    printed = capsys.readouterr().out
    assert "convolution_commutes (convolve): 20 examples" in printed
    assert "audit: 3 of 13 laws are violated" in printed
    assert "evaluation_follows_its_formula (evaluate): violated" in printed


def test_the_page_about_scikit_learn_finds_what_it_says(capsys):
    names, count = run("testing-scikit-learn.md")
    assert count >= 6
    assert [v.law for v in names["found"].violated] == ["evaluation_is_exact_far_from_the_origin"]
    assert "audit: 1 of 14 laws are violated" in capsys.readouterr().out
    errors = names["errors"]
    assert errors["full", "float64"] < 1e-12 < errors["diag", "float64"]
    assert errors["full", "float32"] < 1e-3 < 0.1 < errors["diag", "float32"]
    assert names["smallest"].weights.tolist() == [-1.0]


@pytest.mark.parametrize("page", ["testing.md", "testing-scikit-learn.md"])
def test_laws_and_strategies_that_are_named_exist(page):
    text = (DOCS / page).read_text()
    for name in re.findall(r"laws\.(\w+)", text):
        assert hasattr(laws, name), name
    for name in re.findall(r"gms\.(\w+)", text):
        assert hasattr(strategies, name), name


def test_the_table_names_laws_that_exist_for_25_properties():
    text = (DOCS / "testing.md").read_text()
    table = text.split("| property | laws |")[1].split("\n\n")[0]
    rows = [line for line in table.splitlines() if line.startswith("|") and "---" not in line]
    assert len(rows) == 25
    for row in rows:
        named = [name for name in re.findall(r"`(\w+)`", row.split("|")[2]) if not hasattr(strategies, name)]
        assert named, row
        for name in named:
            assert name in laws.__all__, name


@pytest.mark.parametrize("page", ["testing.md", "testing-scikit-learn.md"])
def test_links_of_the_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (DOCS / page).read_text()):
        assert (DOCS / target).exists(), target
