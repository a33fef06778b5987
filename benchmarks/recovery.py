"""What the recovery experiment and the unfolded encoder cost, as ratios against peers timed in the same run.

python benchmarks/recovery.py [--dtype float32|float64] [--torch]

`--torch` needs PyTorch (CPU), which no extra of this package installs.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import aetheory as ae

_EPOCHS, _EXAMPLES_PER_PASS = 3, 1000


def best_times(functions: dict[str, Callable[[], Any]], rounds: int = 5) -> dict[str, float]:
    """Seconds of the fastest call of each, after one that compiles; in turns, so that all meet the same noise."""
    wait: Any = jax.block_until_ready
    for function in functions.values():
        wait(function())
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            wait(function())
            times[name].append(time.perf_counter() - start)
    return {name: min(taken) for name, taken in times.items()}


def library_epochs() -> Callable[[], Any]:
    """A few epochs of the published simulation: 10 000 fresh examples, one step of Adam."""
    drawn = ae.RecoveryProblem().experiment([_EPOCHS]).draw(jax.random.key(0))
    experiment = ae.RecoveryProblem.of(*drawn).experiment(
        [_EPOCHS], examples_per_pass=_EXAMPLES_PER_PASS, metrics=_nothing
    )
    # a run evaluates the loss once more at its end, which is not part of an epoch but is counted here
    return lambda: experiment.run(jax.random.key(0)).module.dictionary


def matrix_products(dtype: Any) -> Callable[[], Any]:
    """The five products of as many epochs alone, in the same passes: two forward, three back."""
    problem, size = ae.RecoveryProblem(), _EXAMPLES_PER_PASS
    latent_dim = problem.num_groups * problem.group_size
    A = jax.random.normal(jax.random.key(0), (problem.input_dim, latent_dim), dtype)
    y, error = jax.random.normal(jax.random.key(1), (2, size, problem.input_dim), dtype)
    x, slope = jax.random.normal(jax.random.key(2), (2, size, latent_dim), dtype)

    @jax.jit
    def products(A: Any, y: Any, error: Any, x: Any, slope: Any) -> Any:
        return y @ A, x @ A.T, error @ A, error.T @ x, y.T @ slope

    wait: Any = jax.block_until_ready

    def run() -> None:
        for _ in range(_EPOCHS * problem.batch_size // size):
            wait(products(A, y, error, x, slope))

    return run


def _nothing(autoencoder: Any, samples: Any) -> Any:
    return jnp.zeros(())


def torch_epochs(dtype: str) -> Callable[[], Any]:
    """The same epochs in PyTorch, written plainly: dense codes, autograd, Adam, the same passes."""
    import torch

    problem, kind = ae.RecoveryProblem(), getattr(torch, dtype)
    n, groups, size, active = problem.input_dim, problem.num_groups, problem.group_size, problem.num_active
    batch = _EXAMPLES_PER_PASS
    passes = problem.batch_size // batch
    torch.manual_seed(0)
    truth = torch.nn.functional.normalize(torch.randn(n, groups * size, dtype=kind), dim=0)
    A = torch.nn.functional.normalize(truth + 0.048 * torch.randn(n, groups * size, dtype=kind), dim=0)
    A.requires_grad_(True)
    optimizer = torch.optim.Adam([A], lr=problem.learning_rate)
    noise = (active * 61 / 3 / n * 10**-0.1) ** 0.5

    def sample() -> Any:
        chosen = torch.rand(batch, groups).topk(active, dim=1).indices
        codes = torch.nn.functional.normalize(torch.randn(batch, active, size, dtype=kind), dim=2)
        codes = codes * (4 + torch.rand(batch, active, 1, dtype=kind))
        x = torch.zeros(batch, groups, size, dtype=kind)
        x.scatter_(1, chosen[:, :, None].expand(-1, -1, size), codes)
        return x.reshape(batch, -1) @ truth.T + noise * torch.randn(batch, n, dtype=kind)

    def epoch() -> None:
        optimizer.zero_grad()
        for _ in range(passes):
            y = sample()
            z = (y @ A).reshape(batch, groups, size)
            norms = z.norm(dim=2, keepdim=True).clamp_min(1e-12)
            x = (torch.relu(1 - problem.threshold / norms) * z).reshape(batch, -1)
            loss = 0.5 * ((y - x @ A.T) ** 2).sum(dim=1).mean() / passes
            loss.backward()
        optimizer.step()

    def run() -> None:
        for _ in range(_EPOCHS):
            epoch()

    return run


def unfolded(dtype: Any) -> None:
    """Time and compilation of the unfolded encoder against the number of its iterations."""
    dictionary = ae.gaussian_dictionary(jax.random.key(0), 784, 160).astype(dtype)
    inputs = jax.random.normal(jax.random.key(1), (1000, 784), dtype)
    base = 0.0
    for iterations in (10, 20, 40, 80):
        autoencoder = ae.GroupSparseAutoencoder(dictionary, 0.2, 16, num_iterations=iterations)
        start = time.perf_counter()
        compiled = jax.jit(lambda inputs, encode=autoencoder.encode: encode(inputs)).lower(inputs).compile()
        compilation = time.perf_counter() - start
        seconds = best_times({"": lambda compiled=compiled: compiled(inputs)}, rounds=7)[""]  # type: ignore[misc]
        base = base or seconds / iterations
        print(
            f"{iterations:>3} iterations on 1000 images: {1e3 * seconds:.1f} ms, an iteration takes "
            f"{seconds / iterations / base:.2f} times as long as one of 10; compiled in {compilation:.2f} s"
        )


def memory(dtype: str) -> None:
    """Peak memory of epochs of 10 000 and of 100 000 examples, in passes of 1000, in fresh processes."""
    for examples in (10_000, 100_000):
        code = (
            "import jax; "
            f"jax.config.update('jax_enable_x64', {dtype == 'float64'}); "
            "import aetheory as ae; "
            f"jax.block_until_ready(ae.simulate(ae.RecoveryProblem(batch_size={examples}), [1], jax.random.key(0))); "
            "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1])"
        )
        out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        print(f"an epoch of {examples} examples: {int(out) / 1e6:.2f} GB at its peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--torch", action="store_true", help="time PyTorch too")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", arguments.dtype == "float64")  # type: ignore[no-untyped-call]
    dtype = jnp.dtype(arguments.dtype)
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {arguments.dtype}")
    functions = {"library": library_epochs(), "products": matrix_products(dtype)}
    if arguments.torch:
        functions["PyTorch"] = torch_epochs(arguments.dtype)
    times = best_times(functions)
    seconds = times["library"]
    print(f"one epoch (950 x 1000 dictionary, 10 000 fresh examples): {seconds / _EPOCHS:.2f} s")
    print(f"  {seconds / times['products']:.2f}x its five matrix products alone   wanted: at most 1.7x")
    if arguments.torch:
        print(f"  {times['PyTorch'] / seconds:.2f}x as fast as PyTorch   wanted: at least 1.5x")
    unfolded(dtype)
    memory(arguments.dtype)


if __name__ == "__main__":
    main()
