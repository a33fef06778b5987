"""Do starts from labelled classes give the published clustering of MNIST? A dictionary by FISTA codes, as is customary.

    python benchmarks/mnist_class_starts.py --output aetheory/reproduce/recovery_mnist_starts.json

Pixels less their mean over training images, as they are or scaled to norm 1; ten groups of 16 atoms from principal
components of each class or of all images; 15 steps of FISTA with step s = 1/‖A‖² fixed at the start, batches
of 64, Adam at 1e-3, atoms normalised after each step. K-means of the codes of 5000 test images; half an hour on two
cores.
MNIST's files in `$AETHEORY_DATA/mnist`.
"""

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import aetheory as ae

GROUPS, SIZE, STEPS, BATCH, TRAINED, SCORED = 10, 16, 15, 64, 20_032, 5000
STARTS = ("classes", "classes, centred", "all images")
THRESHOLDS = {"pixels": (0.2, 1.0, 3.0, 7.5), "norm 1": (0.05, 0.2, 0.5)}
EPOCHS = (0, 1, 5)
OPTIMIZER = optax.adam(1e-3)


def start(kind: str, images: Any, labels: Any) -> Any:
    """Atoms, shape (784, 160)."""
    if kind == "all images":
        return components(images[:8000], GROUPS * SIZE)
    classes = (images[labels == label][:3000] for label in range(GROUPS))
    return np.hstack([components(rows - rows.mean(0) if "centred" in kind else rows, SIZE) for rows in classes])


def components(rows: Any, count: int) -> Any:
    return np.linalg.svd(rows, full_matrices=False)[2][:count].T


@functools.partial(jax.jit, static_argnames="nonnegative")
def encode(atoms: Any, images: Any, step: Any, threshold: float, nonnegative: bool) -> Any:
    """FISTA of ½‖y − Ax‖² + λ Σ_g‖x_g‖."""
    gram, seen = atoms.T @ atoms, images @ atoms

    def advance(carry: Any, _: None) -> Any:
        codes, ahead, pace = carry
        moved = ahead + step * (seen - ahead @ gram)
        new = ae.group_relu(moved, step * threshold, SIZE, nonnegative=nonnegative)
        following = (1 + jnp.sqrt(1 + 4 * pace**2)) / 2
        return (new, new + (pace - 1) / following * (new - codes), following), None

    zero = jnp.zeros_like(seen)
    return jax.lax.scan(advance, (zero, zero, jnp.ones((), seen.dtype)), length=STEPS)[0][0]


@functools.partial(jax.jit, static_argnames="nonnegative")
def epoch(atoms: Any, state: Any, batches: Any, step: Any, threshold: float, nonnegative: bool) -> Any:
    def loss(atoms: Any, images: Any) -> Any:
        left = encode(atoms, images, step, threshold, nonnegative) @ atoms.T - images
        return 0.5 * jnp.mean(jnp.sum(left**2, axis=-1))

    def descend(carry: Any, images: Any) -> Any:
        atoms, state = carry
        update, state = OPTIMIZER.update(jax.grad(loss)(atoms, images), state)
        atoms = atoms + update
        return (atoms / jnp.linalg.norm(atoms, axis=0), state), None

    return jax.lax.scan(descend, (atoms, state), batches)[0]


def scores(codes: Any, labels: Any, nonnegative: bool) -> list[float]:
    """Accuracy of k-means, active groups an image, and accuracy of the largest group; NaN where all codes are 0."""
    norms = np.linalg.norm(codes.reshape(len(codes), GROUPS, SIZE), axis=2)
    features = ae.recovery.sum_to_one(codes) if nonnegative else codes
    if not codes.any():
        return [np.nan] * 3
    found = ae.recovery.cluster(features[:SCORED], GROUPS, num_starts=5)
    accuracy = ae.recovery.clustering_scores(labels[:SCORED], found).accuracy
    largest = ae.recovery.clustering_scores(labels[:SCORED], norms.argmax(1)[:SCORED]).accuracy
    return [round(float(value), 3) for value in (accuracy, (norms > 0).sum(1).mean(), largest)]


def run(
    images: Any, labels: Any, held_out: Any, held_labels: Any, kind: str, threshold: float, nonnegative: bool
) -> Any:
    """The scores after each of `EPOCHS`."""
    atoms = jnp.asarray(start(kind, images, labels))
    atoms = jnp.abs(atoms) if nonnegative else atoms
    step, state, found, rng = 1 / jnp.linalg.norm(atoms, 2) ** 2, OPTIMIZER.init(atoms), [], np.random.default_rng(0)
    for count in range(EPOCHS[-1] + 1):
        if count in EPOCHS:
            codes = np.asarray(encode(atoms, held_out, step, threshold, nonnegative))
            found.append(scores(codes, held_labels, nonnegative))
        if count < EPOCHS[-1]:
            order = rng.permutation(len(images))[:TRAINED].reshape(-1, BATCH)
            atoms, state = epoch(atoms, state, jnp.asarray(images[order]), step, threshold, nonnegative)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    output, rows = parser.parse_args().output, list[Any]()
    train, test = (ae.load_images("mnist", split=split) for split in ("train", "test"))
    mean = np.asarray(train.samples).mean(0)
    for data, thresholds in THRESHOLDS.items():
        parts = [np.asarray(one.samples, np.float32) - mean for one in (train, test)]
        if data == "norm 1":
            parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
        for threshold in thresholds:
            for kind in STARTS:
                for nonnegative in (False, True):
                    given = (parts[0], np.asarray(train.labels), jnp.asarray(parts[1]), np.asarray(test.labels))
                    found = run(*given, kind, threshold, nonnegative)
                    rows.append([data, threshold, kind, nonnegative, found])
                    print(rows[-1], flush=True)
                    told = {"columns": ["data", "threshold", "start", "nonnegative", "scores"], "epochs": EPOCHS}
                    output.write_text(json.dumps(told | {"rows": rows}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
