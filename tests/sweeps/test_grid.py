"""Axes and cells against what they are given as."""

import itertools

import jax
import numpy as np
import pytest

from aetheory.sweeps.grid import cell_key, make_grid

AXES = {"p": [10, 20], "scales": {"x": [0.1, 0.2, 0.4], "H": [1, 2, 3]}, "name": ["a", "b"]}


def test_a_product_of_axes_has_every_combination_once():
    grid = make_grid(AXES)
    assert tuple(grid.axes) == ("p", "scales", "name")
    assert grid.shape == (2, 3, 2)
    cells = [grid.cell(place) for place in range(12)]
    wanted = [
        {"p": p, "x": x, "H": h, "name": name}
        for p, (x, h), name in itertools.product([10, 20], [(0.1, 1), (0.2, 2), (0.4, 3)], "ab")
    ]
    assert cells == wanted
    columns = grid.columns(np.arange(12))
    assert [{name: values[i] for name, values in columns.items()} for i in range(12)] == wanted


def test_a_list_of_cells_is_one_axis():
    grid = make_grid([{"p": 1, "x": 0.5}, {"p": 2, "x": 0.25}])
    assert tuple(grid.axes) == ("cell",)
    assert [grid.cell(0), grid.cell(1)] == [{"p": 1, "x": 0.5}, {"p": 2, "x": 0.25}]


def test_one_real_among_integers_makes_them_real():
    grid = make_grid({"n": [1, np.inf], "x": [1, 2.5], "y": np.array([1.0, 2.0])})
    assert [type(value) for value in grid.cell(0).values()] == [int, float, float]


def test_combinations_of_parameters():
    combinations, number = make_grid(AXES | {"p": {"p": [10, 20, 30], "even": [True, False, True]}}).combinations(
        {"even", "name"}
    )
    assert combinations == [{"even": even, "name": name} for even, name in itertools.product([True, False], "ab")]
    assert number.reshape(3, 3, 2)[:, 0].tolist() == [[0, 1], [2, 3], [0, 1]]


def test_the_key_data_of_a_cell_depend_on_its_parameters_alone():
    grid = make_grid(AXES)
    other = make_grid({"name": ["b"], "x": [0.2], "H": [2], "p": [20, 30]})
    place = next(i for i in range(12) if grid.cell(i) == {"p": 20, "x": 0.2, "H": 2, "name": "b"})
    np.testing.assert_array_equal(grid.key_data(np.array([place])), other.key_data(np.array([0])))
    assert len(np.unique(grid.key_data(np.arange(12)), axis=0)) == 12
    # the names count, not only the values
    assert (make_grid({"a": [1.0]}).key_data(np.array([0])) != make_grid({"b": [1.0]}).key_data(np.array([0]))).any()


def test_integers_that_round_to_one_real_number_have_different_keys():
    values = [2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2, 2**60 + 1]
    assert len(np.unique(make_grid({"n": values}).key_data(np.arange(5)), axis=0)) == 5


def test_a_key_stays_what_it_was():
    """Stores of older versions hold draws of these keys."""
    key = cell_key(jax.random.key(3), {"p": 20, "x": 0.2, "name": "b"}, 3)
    assert jax.random.key_data(key).tolist() == [24458295, 1013628141]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "`grid` must be a mapping"),
        ([], "`grid` must be a mapping"),
        (3, "`grid` must be a mapping"),
        ({"x": []}, r"`grid\['x'\]` must be a non-empty vector"),
        ({"x": "abc"}, r"`grid\['x'\]` must be a non-empty vector"),
        ({"x": [[1.0]]}, r"`grid\['x'\]` must be a non-empty vector"),
        ({"x": np.ones((2, 2))}, r"`grid\['x'\]` must be a non-empty vector"),
        ({"x": [1.0, float("nan")]}, r"`grid\['x'\]` must be free of NaN"),
        ({"x": [1.0, "a"]}, r"`grid\['x'\]` must be values of one kind"),
        ({"x": [1.0, 1.0]}, r"`grid\['x'\]` must be free of equal values .*, but got \(1.0,\)"),
        ({"s": {"x": [1.0], "y": [1.0, 2.0]}}, r"`grid\['s'\]` must be members of one length"),
        ({"s": {}}, r"`grid\['s'\]` must be not empty"),
        ({"x": [1.0], "s": {"x": [2.0]}}, "`grid` must be axes and parameters of different names, but got 'x'"),
        ({"s": {"x": [1.0]}, "x": [2.0]}, "`grid` must be axes and parameters of different names, but got 'x'"),
        ({"repeat": [1.0]}, "`grid` must be free of the name 'repeat'"),
        ({1: [1.0]}, "`grid` must be keyed by strings, but got 1"),
        ([{"x": 1.0}, {"y": 1.0}], "`grid` must be a list of cells that all name"),
        ({"x": np.ones(1, np.float32), "y": np.ones(1)}, "axes of one precision, but got .*float32.*float64"),
    ],
)
def test_bad_grids_are_refused(grid, message):
    with pytest.raises(ValueError, match=message):
        make_grid(grid)
