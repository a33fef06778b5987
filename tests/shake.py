"""Another processor: what `pytest --shake` changes, so that no processor's rounding becomes a test's tolerance.

Elsewhere the same products of matrices and the same sums are added in another order: other vectors, other blocks, no
fused multiply-add. Here they are added backwards, and a cumulative sum is taken by a scan. Accelerators moreover round
the factors of a product to ten bits unless it asks for full precision; so do products in float32 here. Only the
primitives' translation for the CPU changes: transformations and jaxprs stay what they are.
"""

import os

import jax
import jax.numpy as jnp
from jax.extend.core import primitives
from jax.extend.mlir.dialects import stablehlo
from jax.interpreters import mlir

_EXACT = [(jax.lax.Precision.HIGHEST,) * 2, jax.lax.Precision.HIGHEST]


def _dot_general(context, *operands, dimension_numbers, precision=None, **_):
    summed, batch = dimension_numbers
    if precision not in _EXACT and context.avals_in[0].dtype == jnp.float32:
        operands = [stablehlo.reduce_precision(x, exponent_bits=8, mantissa_bits=10) for x in operands]
    numbers = stablehlo.DotDimensionNumbers.get(*map(list, [*batch, *summed]))
    (result,) = context.avals_out
    kind = mlir.ir.RankedTensorType.get(result.shape, mlir.dtype_to_ir_type(result.dtype))
    backwards = [stablehlo.reverse(x, mlir.dense_int_array(axes)) for x, axes in zip(operands, summed, strict=True)]
    return [stablehlo.dot_general(kind, *backwards, numbers)]


def _reduce_sum(x, *, axes, **_):
    zero = jnp.zeros((), x.dtype)  # with `jax.lax.add` for the sum this would be the primitive again
    return jax.lax.reduce(jnp.flip(x, axes), zero, lambda total, term: total + term, axes)


def _cumsum(x, *, axis, reverse):
    return jax.lax.associative_scan(jnp.add, x, axis=axis, reverse=reverse)


def shake():
    """Sum in another order from here on; before anything is computed."""
    mlir.register_lowering(primitives.dot_general_p, _dot_general, platform="cpu")
    for primitive, function in {primitives.reduce_sum_p: _reduce_sum, primitives.cumsum_p: _cumsum}.items():
        mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False), platform="cpu")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX".strip()  # no multiply-add
