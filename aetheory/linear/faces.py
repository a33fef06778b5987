"""Which monomials lie on which faces of the prism, and which faces meet."""

from aetheory.core.checks import fail
from aetheory.linear.theories import FACES as FACES

_PARALLEL = {"large-data", "small-data"}
_SIDES = {"mean-field", "narrow-latent", "free"}


def lies_on(faces: tuple[str, ...], monomial: tuple[int, ...], order: int, risk: str) -> bool:
    """Whether xᵐ yⁿ zʲ of the `order`-th derivative lies on all of `faces`.

    The prism is 1 ≤ n ≤ m ≤ s + 2 and 0 ≤ j ≤ s (train) or max(s − 1, 0) (population). The constant 1 of order 0,
    which no scaling of the target moves, lies on every face where the target I matters.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the triangle: arXiv:2602.04548, Theorem 4.1.
    """
    top = order if risk == "train" else max(order - 1, 0)
    m, n, j = monomial
    return all(FACES[face].holds(m, n, j, order, top) for face in faces)


def meet(faces: tuple[str, ...]) -> bool:
    """Whether `faces` have a point in common."""
    return not (set(faces) >= _PARALLEL or set(faces) >= _SIDES)


def check_faces(faces: tuple[str, ...]) -> None:
    """Raise ValueError unless `faces` are names of faces that meet."""
    for face in faces:
        if face not in FACES:
            raise fail("faces", f"among {', '.join(map(repr, FACES))}", face)
    if not meet(faces):
        raise fail("faces", "faces that meet (large-data and small-data are parallel; at most two sides meet)", faces)
