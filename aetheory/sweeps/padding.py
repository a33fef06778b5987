"""Which shapes share a compiled program: padding by zeros against compiling another."""

from collections.abc import Mapping

from aetheory.linear.ensembles import Reduction

_COMPILATION = 2e11
"""Flops that are worth a compilation: two seconds of a core, which other threads use meanwhile. A fixed number, because
the choice decides the last bits of the results, which must not depend on how busy the machine was."""

_EVALUATIONS = 250
"""Evaluations of the vector field that a flow takes, order of magnitude."""

_OVERHEAD = 5e5
"""Flops that an evaluation costs beyond its products, however small the matrices: some five microseconds of a core."""

_ENTRY = 500
"""Flops that an entry of the weights costs beside the products, in the stages of the solver: five nanoseconds."""


def shared_shapes(lanes: Mapping[Reduction, int]) -> dict[Reduction, Reduction]:
    """The shape that each reduced problem is computed in, given how many flows have it.

    Zero rows and columns of W, and zero rows of S, stay zero along the flow, so that a problem may be computed inside
    any larger one of its kind. Shapes are taken from the costliest down; each joins, of the shapes kept so far that
    hold it, the one that adds least work, unless a program of its own adds less.
    """
    kept: list[Reduction] = []
    chosen: dict[Reduction, Reduction] = {}
    for shape in sorted(lanes, key=lambda shape: (-_flow_flops(shape), shape)):
        candidates = [host for host in kept if _holds(host, shape)]
        best = min(candidates, key=_flow_flops, default=None)
        if best is not None and lanes[shape] * (_flow_flops(best) - _flow_flops(shape)) < _COMPILATION:
            chosen[shape] = best
        else:
            kept.append(shape)
            chosen[shape] = shape
    hosts = {host for shape, host in chosen.items() if shape != host}
    return {shape: host._replace(padded=host in hosts) for shape, host in chosen.items()}


def _flow_flops(shape: Reduction) -> float:
    return _EVALUATIONS * (shape.flops + _ENTRY * shape.size + _OVERHEAD)


def _holds(host: Reduction, shape: Reduction) -> bool:
    def kind(one: Reduction) -> tuple[bool, ...]:
        return one.latent_factor, one.population, one.follow_map

    return (
        kind(host) == kind(shape)
        # rows outside the range of S may all be padding, but are not drawn alike in both ways
        and (shape.outside == 0 or host.outside_factor == shape.outside_factor)
        # a train risk that can reach 0 loses its relative accuracy where it is computed as one that cannot
        and (shape.columns < shape.rank or host.columns >= host.rank)
        and host.rank >= shape.rank
        and host.outside >= shape.outside
        and host.columns >= shape.columns
    )
