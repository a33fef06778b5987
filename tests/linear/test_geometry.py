import pytest

from aetheory.linear.faces import FACES
from aetheory.linear.geometry import pareto_monomials, prism
from aetheory.linear.theories import THEORIES

RISKS = ("train", "population")


def formula(order, risk):
    """The prism as published: 1 ≤ n ≤ m ≤ s + 2, 0 ≤ j ≤ s (train) or max(s − 1, 0) (population)."""
    top = order if risk == "train" else max(order - 1, 0)
    return tuple((m, n, j) for m in range(1, order + 3) for n in range(1, m + 1) for j in range(top + 1))


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("order", range(5))
def test_pareto_set_of_the_exact_coefficients_is_the_published_prism(order, risk):
    assert pareto_monomials(order, risk) == formula(order, risk)


@pytest.mark.parametrize(
    ("order", "risk"), [(1, "train"), (2, "train"), (4, "train"), (2, "population"), (4, "population")]
)
def test_hull_is_a_triangular_prism(order, risk):
    hull = prism(order, risk)
    assert (len(hull.faces), len(hull.edges), len(hull.vertices)) == (5, 9, 6)
    top = order if risk == "train" else order - 1
    corners = {(order + 2, 1), (order + 2, order + 2), (1, 1)}
    assert {vertex.monomials for vertex in hull.vertices} == {((m, n, j),) for m, n in corners for j in (0, top)}
    assert tuple(face.names[0] for face in hull.faces) == tuple(FACES)
    triangle = (order + 2) * (order + 3) // 2
    sides = (order + 2) * (top + 1)
    assert [len(face.monomials) for face in hull.faces] == [triangle, triangle, sides, sides, sides]
    # Euler's formula, and every edge joins two of the vertices
    ends = [sum(vertex.monomials[0] in edge.monomials for vertex in hull.vertices) for edge in hull.edges]
    assert ends == [2] * 9


def test_faces_describe_themselves():
    hull = prism(2)
    corner = next(vertex for vertex in hull.vertices if set(vertex.names) == {"small-data", "narrow-latent", "free"})
    assert corner.label == "small-data ∩ narrow-latent ∩ free"
    assert corner.time_unit == "p/N · pσ²"
    assert "N/p → 0" in corner.scaling
    assert hull.faces[0].time_unit == "1"


def test_all_but_two_edges_and_every_vertex_are_explicit():
    hull = prism(2)
    missing = {face.names for face in (*hull.edges, *hull.vertices) if not THEORIES[face.label].is_explicit}
    assert missing == {("small-data", "free"), ("narrow-latent", "free")}


@pytest.mark.parametrize(("order", "risk"), [(0, "train"), (1, "population")])
def test_a_flat_prism_is_refused(order, risk):
    with pytest.raises(ValueError, match="`order` must be at least"):
        prism(order, risk)


def test_bad_input_names_the_argument():
    with pytest.raises(ValueError, match="`order`"):
        pareto_monomials(-1)
    with pytest.raises(ValueError, match="`risk`"):
        prism(2, "test")
