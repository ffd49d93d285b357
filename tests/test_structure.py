"""The house: parallel streets, public names, import time, no stray dependencies."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gmengine as gm

ROOT = Path(__file__).parent.parent
PACKAGE = Path(gm.__file__).parent
FITS = ["fit_em", "fit_kmeans"]  # no op and no gradient: gmengine.fitting calls them
CPU_FITS = ["fit_hierarchy", "fit_neighbours"]  # fits that run on the CPU alone
HOUSES = {p.stem for p in (ROOT / "gmengine/cpu").glob("[a-z]*.py")}
KERNELS = sorted(HOUSES - {*FITS, *CPU_FITS})
CALLED_BY_OPS = {"forward", "vjp", "plan", "plan_and_forward"}
METHODS_OF_REDUCE = {"tree_hem", "top", "em", "hem"}


def functions(path):
    return {n.name: n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("op", KERNELS)
def test_every_street_has_this_house(op):
    public = functions(ROOT / f"gmengine/cpu/{op}.py")
    assert {"forward", "vjp"} <= public.keys()
    house = "reduce" if op in METHODS_OF_REDUCE else op
    for path in (f"gmengine/ops/{house}.py", f"bench/bench_{house}.py"):
        assert (ROOT / path).exists(), path
    assert list((ROOT / "tests/ops").glob(f"test_{house}*.py"))


@pytest.mark.parametrize("op", KERNELS)
def test_the_parallel_street_has_the_same_functions(op):
    ours, theirs = (functions(ROOT / f"gmengine/{street}/{op}.py") for street in ("cpu", "cuda"))
    assert CALLED_BY_OPS & ours.keys() == CALLED_BY_OPS & theirs.keys()
    for name in CALLED_BY_OPS & ours.keys():
        assert argument_names(ours[name]) == argument_names(theirs[name]), name
    tests = "\n".join(p.read_text() for p in (ROOT / "tests/cuda").glob("test_*_kernels.py"))
    assert re.search(rf'cuda\("{op}"\)', tests), f"nothing in tests/cuda runs {op}"


def public_functions(path):
    return {name: function for name, function in functions(path).items() if not name.startswith("_")}


@pytest.mark.parametrize("house", FITS)
def test_a_house_of_fits_has_the_same_functions_on_both_streets(house):
    ours, theirs = (public_functions(ROOT / f"gmengine/{street}/{house}.py") for street in ("cpu", "cuda"))
    assert ours.keys() == theirs.keys()
    for name, function in ours.items():
        assert argument_names(function) == argument_names(theirs[name]), name
    tests = "\n".join(p.read_text() for p in (ROOT / "tests/cuda").glob("test_*_kernels.py"))
    assert re.search(rf'cuda\("{house}"\)', tests), f"nothing in tests/cuda runs {house}"


@pytest.mark.parametrize("house", FITS + CPU_FITS)
def test_a_house_of_fits_has_no_gradient_and_no_op(house):
    assert "vjp" not in functions(ROOT / f"gmengine/cpu/{house}.py")
    assert not (ROOT / f"gmengine/ops/{house}.py").exists()
    fitting = "\n".join(p.read_text() for p in (ROOT / "gmengine/fitting").glob("*.py"))
    assert house in fitting


@pytest.mark.parametrize("house", CPU_FITS)
def test_a_fit_for_the_cpu_alone_has_no_house_on_the_other_street(house):
    assert house in HOUSES
    assert not (ROOT / f"gmengine/cuda/{house}.py").exists()


def argument_names(function):
    a = function.args
    return [x.arg for x in (*a.posonlyargs, *a.args)], [x.arg for x in a.kwonlyargs], len(a.defaults)


def test_launch_is_the_only_door_to_the_gpu():
    calls = {
        p.name for p in (PACKAGE / "cuda").glob("*.py") if re.search(r"Raw(Module|Kernel)\(", p.read_text())
    }
    assert calls == {"_launch.py"}


@pytest.mark.parametrize("op", KERNELS)
def test_every_vjp_carries_its_derivation(op):
    text = ast.get_docstring(functions(ROOT / f"gmengine/cpu/{op}.py")["vjp"])
    assert text is not None
    assert len(text) > 100


def test_every_public_name_exists_and_is_documented():
    for name in gm.__all__:
        assert (getattr(gm, name).__doc__ or "").strip(), name


def test_importing_gmengine_imports_nothing_heavy():
    code = "import sys, gmengine; print([m for m in %r if m in sys.modules])"
    heavy = ["numba", "numpy.f2py", "scipy", "sklearn", "matplotlib", "hypothesis", "cupy", "rich"]
    out = subprocess.run(
        [sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"


def test_no_file_has_grown_too_long():
    long = [
        str(p.relative_to(ROOT))
        for folder in ("gmengine", "tests", "bench")
        for p in (ROOT / folder).rglob("*.py")
        if len(p.read_text().splitlines()) > 400
    ]
    assert long == []


def test_nothing_is_pickled():
    pattern = re.compile(r"allow_pickle\s*=\s*True|^import pickle|\bpickle\.(load|dump)", re.MULTILINE)
    guilty = [str(p) for p in PACKAGE.rglob("*.py") if pattern.search(p.read_text())]
    assert guilty == []


def test_data_files_are_installed():
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "data/DIGITS_LICENSE.txt").exists()
    for path in (ROOT / "gmengine/cuda").glob("*.cu*"):
        assert (PACKAGE / "cuda" / path.name).read_bytes() == path.read_bytes()
