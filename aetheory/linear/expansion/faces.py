"""The faces of the triangular prism of monomials xᵐ yⁿ zʲ, and the monomials that lie on them."""

from collections.abc import Callable

from aetheory.core.checks import fail

# For monomials xᵐ yⁿ zʲ of the s-th derivative of a risk; `top` is the largest power of z that the risk reaches. The
# constant 1 of order 0, which no scaling of the target moves, lies on every face where the target I matters.
_FACES: dict[str, Callable[[int, int, int, int, int], bool]] = {
    "large-data": lambda m, n, j, s, top: j == 0,
    "small-data": lambda m, n, j, s, top: j == top,
    "mean-field": lambda m, n, j, s, top: n == m,
    "narrow-latent": lambda m, n, j, s, top: n == min(m, 1),
    "free": lambda m, n, j, s, top: m == s + 2,
}

FACES = tuple(_FACES)
_PARALLEL = {"large-data", "small-data"}
_SIDES = {"mean-field", "narrow-latent", "free"}


def lies_on(faces: tuple[str, ...], monomial: tuple[int, ...], order: int, risk: str) -> bool:
    """Whether xᵐ yⁿ zʲ of the `order`-th derivative lies on all of `faces`.

    Source: the prism of E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335: 1 ≤ n ≤ m ≤ s + 2, and
    0 ≤ j ≤ s (train) or max(s − 1, 0) (population).
    """
    top = order if risk == "train" else max(order - 1, 0)
    m, n, j = monomial
    return all(_FACES[face](m, n, j, order, top) for face in faces)


def meet(faces: tuple[str, ...]) -> bool:
    """Whether `faces` have a point in common."""
    return not (set(faces) >= _PARALLEL or set(faces) >= _SIDES)


def check_faces(faces: tuple[str, ...]) -> None:
    """Raise ValueError unless `faces` are names of faces that meet."""
    for face in faces:
        if face not in _FACES:
            raise fail("faces", f"among {', '.join(map(repr, FACES))}", face)
    if not meet(faces):
        raise fail("faces", "faces that meet (large-data and small-data are parallel; at most two sides meet)", faces)
