import matplotlib.pyplot as plt
import numpy as np
import pytest

from aetheory.plotting import plot_atoms, plot_distances, plot_phases


def test_phases_show_values_and_a_scale():
    _, ax = plt.subplots()
    values = np.add.outer(np.arange(3.0), np.arange(4.0))
    assert plot_phases(np.arange(4), [1, 2, 3], values, ax, limits=(0, 6), label="risk") is ax
    mesh = ax.collections[0]
    np.testing.assert_allclose(mesh.get_array().reshape(3, 4), values)
    assert mesh.get_clim() == (0, 6)
    assert ax.figure.axes[1].get_ylabel() == "risk"
    with pytest.raises(ValueError, match=r"`values` must be of shape \(3, 4\)"):
        plot_phases(np.arange(4), np.arange(3), values.T)
    plt.close("all")


def test_distances_are_drawn():
    points = np.arange(5.0)
    matrix = np.abs(points[:, None] - points)
    ax = plot_distances(matrix)
    np.testing.assert_allclose(ax.images[0].get_array(), matrix)
    with pytest.raises(ValueError, match="`matrix` must be square"):
        plot_distances(matrix[:3])
    with pytest.raises(ValueError, match="`matrix` must be a finite array"):
        plot_distances(np.full((2, 2), np.nan))
    plt.close("all")


def test_atoms_are_images_of_one_sign_and_scale():
    atoms = np.random.default_rng(0).normal(size=(6, 4))
    canvas = plot_atoms(atoms, (2, 3), group_size=2).images[0].get_array()
    assert canvas.shape == (5, 7)
    first = atoms[:, 0] / np.copysign(np.abs(atoms[:, 0]).max(), atoms[:, 0].sum())
    np.testing.assert_allclose(canvas[:2, :3], first.reshape(2, 3))
    assert plot_atoms(atoms, (2, 3)).images[0].get_array().shape == (5, 7)
    assert plot_atoms(np.zeros((6, 1)), (2, 3)).images[0].get_array().max() == 0
    with pytest.raises(ValueError, match="`image_shape` must be of 6 pixels"):
        plot_atoms(atoms, (2, 2))
    plt.close("all")
