"""Thread counts: whose word counts, and that everything is put back."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info

from gmengine import threads
from gmengine.errors import ArgumentError
from gmengine.training import limited_threads, requested_threads


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"GMENGINE_NUM_THREADS": "2", "OMP_NUM_THREADS": "3"}, 2),
        ({"GMENGINE_NUM_THREADS": " ", "OMP_NUM_THREADS": "3"}, 3),
    ],
)
def test_our_variable_beats_openmps(environ, expected):
    assert requested_threads(environ) == expected


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_count_that_is_none_is_refused_by_the_name_of_its_variable(text):
    with pytest.raises(ArgumentError, match="GMENGINE_NUM_THREADS"):
        requested_threads({"GMENGINE_NUM_THREADS": text})


def test_the_limit_holds_inside_and_is_lifted_outside():
    before = threads.get_num_threads()
    blas = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
    with limited_threads(1) as used:
        assert used == threads.get_num_threads() == 1
        assert all(each["num_threads"] == 1 for each in threadpool_info() if each["user_api"] == "blas")
    assert threads.get_num_threads() == before
    assert [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"] == blas


def test_the_limit_is_lifted_after_an_error():
    before = threads.get_num_threads()
    with pytest.raises(KeyError), limited_threads(1):
        raise KeyError
    assert threads.get_num_threads() == before


def test_the_environment_decides_where_no_count_is_given(monkeypatch):
    monkeypatch.setenv("GMENGINE_NUM_THREADS", "1")
    with limited_threads() as used:
        assert used == 1


def test_a_count_set_for_the_process_beats_the_environment(monkeypatch):
    monkeypatch.setenv("GMENGINE_NUM_THREADS", str(threads.cores()))
    threads.set_num_threads(1)
    try:
        with limited_threads() as used:
            assert used == 1
    finally:
        threads.set_num_threads(None)


def test_more_threads_than_there_are_means_all():
    with limited_threads(10_000) as used:
        assert used == threads.cores()


def test_no_threads_at_all_is_refused():
    with pytest.raises(ArgumentError, match="at least 1"), limited_threads(0):
        pass
