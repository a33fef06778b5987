import matplotlib.pyplot as plt
import pytest

import aetheory as ae
from aetheory.plotting import plot_prism


def test_prism_shows_monomials_faces_and_the_problem():
    ax = plot_prism(ae.LinearProblem(300, 150, 60_000, 1 / 300), order=2)
    assert ax.get_title() == "face: large-data"
    assert {text.get_text() for text in ax.texts} == set(ae.REGIMES) - {"interior"}
    assert sum(len(drawn.get_offsets()) for drawn in ax.collections if hasattr(drawn, "get_sizes")) >= 30
    opacities = [drawn.get_alpha() for drawn in ax.collections if drawn.get_alpha() is not None]
    assert max(opacities) > min(opacities)
    with pytest.raises(ValueError, match="`ax` must be three-dimensional"):
        plot_prism(ax=plt.figure().add_subplot())
    with pytest.raises(ValueError, match="`order` must be at least 2"):
        plot_prism(order=1, risk="population")
    plt.close("all")
