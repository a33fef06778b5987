"""Every public function with every argument replaced by bad values: what is told clearly, unclearly, or not at all.

python benchmarks/attack.py [NAME …] [--list]

A good answer is a result without NaN, or an error that names the argument. Annotations are not checked at run time
here, as for a user. What is listed as unclear ends in somebody else's words, what is silent in NaN.
"""

import argparse
import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import aetheory as ae

BAD: dict[str, Any] = {
    "None": None,
    "a word": "word",
    "an empty word": "",
    "bytes": b"bytes",
    "a complex number": 3j,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "-infinity": -float("inf"),
    "-1": -1,
    "-0.5": -0.5,
    "0": 0,
    "1.5": 1.5,
    "3": 3,
    "10^30": 10**30,
    "1e300": 1e300,
    "True": True,
    "an empty list": [],
    "a list of NaN": [float("nan")],
    "a list of words": ["a", "b"],
    "a list of None": [None],
    "a ragged list": [[1.0], [1.0, 2.0]],
    "an empty array": np.zeros(0),
    "an array of complex numbers": np.ones((3, 3), complex),
    "an array of objects": np.array([object()], object),
    "an array of rank 4": np.ones((1, 2, 1, 2)),
    "a matrix with NaN": np.full((4, 4), np.nan),
    "a huge array": np.full((4, 4), 1e300),
    "a dictionary": {},
    "a set": {1},
    "a function": lambda *_: None,
    "a type": int,
    "an object": object(),
    "a slice": slice(3),
}

Calls = dict[str, tuple[Callable[..., Any], dict[str, Any]]]


def calls() -> Calls:
    """By name a public function, and arguments with which it works and takes little time."""
    key, rng = jax.random.key(0), np.random.default_rng(0)
    matrix, times = rng.normal(size=(6, 4)), np.array([0.0, 0.1, 0.3])
    problem, ratios = ae.LinearProblem(6, 3, 8, 0.1), ae.LinearRatios(0.5, 0.5, 0.5)
    source = ae.GroupSparseSource(ae.orthonormal_groups_dictionary(key, 6, 4, 2), 2, 1)
    network = ae.GroupSparseAutoencoder(np.asarray(source.dictionary), 0.1, 2)
    trained = {"autoencoder": network, "loss": ae.reconstruction_loss, "data": source.sample(key, 5)}
    curve = ae.predict(ratios, times, "large-data")
    limits, recovery, spectra = ae.limits, ae.recovery, ae.spectra
    sparse = ae.SparseSource(4, 0.5)
    return {
        "LinearProblem": (ae.LinearProblem, {"input_dim": 6, "latent_dim": 3, "num_samples": 8, "init_variance": 0.1}),
        "LinearRatios": (ae.LinearRatios, {"init_scale": 0.5, "latent_ratio": 0.5, "sample_ratio": 0.5}),
        "LinearProblem, covariance": (
            lambda covariance: ae.LinearProblem(4, 2, 5, 0.1, covariance=covariance),
            {"covariance": np.ones(4)},
        ),
        "simulate": (ae.simulate, {"problem": problem, "times": times, "key": key, "num_repeats": 1, "rtol": 1e-3}),
        "predict": (ae.predict, {"problem": ratios, "times": times, "theory": "large-data"}),
        "locate": (ae.locate, {"problem": problem}),
        "sensitivities": (ae.sensitivities, {"problem": ratios, "times": times, "theory": "large-data"}),
        "flow_time": (ae.flow_time, {"steps": 3, "learning_rate": 0.1, "input_dim": 4, "momentum": 0.5}),
        "fit": (
            ae.fit,
            {
                "curve": curve,
                "theories": "large-data",
                "free": ["init_scale"],
                "fixed": {"latent_ratio": 0.5, "sample_ratio": 0.5},
                "num_starts": 1,
            },
        ),
        "Observations.of": (ae.Observations.of, {"observed": {"time": times, "train": times}}),
        "TwoLayerProblem": (
            ae.TwoLayerProblem,
            {"input_dim": 6, "num_units": 3, "activation": "sign", "method": "tied"},
        ),
        "TwoLayerAutoencoder": (ae.TwoLayerAutoencoder, {"encoder": matrix, "decoder": matrix.T, "activation": "sign"}),
        "random_encoder": (ae.two_layer.random_encoder, {"key": key, "input_dim": 6, "latent_dim": 4}),
        "optimal_risk": (
            ae.two_layer.optimal_risk,
            {"encoder": matrix, "activation": "sign", "covariance": np.ones(4)},
        ),
        "optimal_decoder": (ae.two_layer.optimal_decoder, {"encoder": matrix, "activation": "sign"}),
        "limits.gaussian": (limits.gaussian, {"rate": 0.5, "activation": "sign"}),
        "limits.water_filling": (limits.water_filling, {"standard_deviations": np.ones(3), "num_units": 2.0}),
        "limits.rate_distortion": (limits.rate_distortion, {"variances": np.ones(3), "rate": 1.0}),
        "limits.principal_components": (limits.principal_components, {"variances": np.ones(3), "num_units": 2}),
        "limits.minimiser": (limits.minimiser, {"key": key, "num_units": 3, "covariance": np.ones(4)}),
        "limits.identity_risk": (limits.identity_risk, {"source": sparse, "rate": 0.5}),
        "limits.rotation_risk": (limits.rotation_risk, {"source": sparse, "rate": 0.5}),
        "limits.denoised_risk": (limits.denoised_risk, {"source": sparse, "rate": 0.5}),
        "GaussianSource": (ae.GaussianSource, {"covariance": np.ones(3)}),
        "GaussianSource.power_law": (ae.GaussianSource.power_law, {"input_dim": 5, "exponent": 1.0}),
        "SparseSource": (ae.SparseSource, {"input_dim": 5, "sparsity": 0.5, "amplitude": "gaussian"}),
        "GroupSparseSource": (
            ae.GroupSparseSource,
            {
                "dictionary": np.asarray(source.dictionary),
                "group_size": 2,
                "num_active": 1,
                "min_norm": 1.0,
                "max_norm": 2.0,
                "signal_to_noise": 3.0,
            },
        ),
        "sample": (sparse.sample, {"key": key, "num_samples": 3}),
        "load_images": (ae.load_images, {"name_or_path": "digits", "split": "all"}),
        "gaussian_dictionary": (ae.gaussian_dictionary, {"key": key, "input_dim": 6, "latent_dim": 4}),
        "orthonormal_groups_dictionary": (
            ae.orthonormal_groups_dictionary,
            {"key": key, "input_dim": 6, "latent_dim": 4, "group_size": 2},
        ),
        "perturbed_dictionary": (ae.perturbed_dictionary, {"key": key, "dictionary": matrix, "noise_scale": 0.1}),
        "data_dictionary": (ae.data_dictionary, {"key": key, "samples": matrix, "latent_dim": 3}),
        "group_relu": (ae.group_relu, {"codes": np.ones(4), "threshold": 0.1, "group_size": 2}),
        "GroupSparseAutoencoder": (
            ae.GroupSparseAutoencoder,
            {"dictionary": matrix, "threshold": 0.1, "group_size": 2, "num_iterations": 2},
        ),
        "RecoveryProblem": (
            ae.RecoveryProblem,
            {
                "input_dim": 20,
                "num_groups": 6,
                "group_size": 2,
                "num_active": 1,
                "min_norm": 1.0,
                "max_norm": 2.0,
                "signal_to_noise": 3.0,
                "threshold": 0.1,
                "start_correlation": 0.5,
                "optimizer": "adam",
                "learning_rate": 0.1,
                "batch_size": 4,
                "network": "group",
            },
        ),
        "recovery.coherence": (recovery.coherence, {"dictionary": matrix}),
        "recovery.block_coherence": (recovery.block_coherence, {"dictionary": matrix, "group_size": 2}),
        "recovery.dictionary_distance": (recovery.dictionary_distance, {"dictionary": matrix, "reference": matrix}),
        "gradient_descent": (
            ae.gradient_descent,
            {**trained, "optimizer": optax.sgd(0.1), "num_steps": 2},
        ),
        "gradient_flow": (ae.gradient_flow, {**trained, "times": times}),
        "sweep": (
            ae.sweep,
            {
                "function": lambda cell, key: cell["x"],
                "grid": {"x": [0.5, 1.0]},
                "key": key,
                "num_repeats": 1,
                "on_error": "raise",
                "block_size": 1,
                "progress": False,
            },
        ),
        "sweeps.Simulation": (ae.sweeps.Simulation, {"times": times}),
        "sweeps.Prediction": (ae.sweeps.Prediction, {"times": times, "theory": "large-data"}),
        "sweeps.open_store": (ae.sweeps.open_store, {"path": "nowhere"}),
        "spectra.MarchenkoPastur": (spectra.MarchenkoPastur, {"ratio": 0.5, "mean": 1.0}),
        "spectra.free_poisson": (spectra.free_poisson, {"rate": 0.5, "jump": 1.0}),
        "spectra.SampleCovariance": (spectra.SampleCovariance, {"variances": np.ones(3), "ratio": 0.5}),
        "expansion.resum": (ae.expansion.resum, {"series": np.ones(5), "times": times, "method": "pade"}),
        "expansion.taylor_series": (
            ae.expansion.taylor_series,
            {"coefficients": [ae.expansion.planar(0), ae.expansion.planar(1)], "problem": problem},
        ),
        "citation": (lambda which: ae.citation(which), {"which": "large-data"}),
        "Rotations": (ae.Rotations, {"size": 8, "number": 2, "seed": 0}),
        "plot": (ae.plot, {"curve": curve}),
    }


def outcomes(function: Callable[..., Any], arguments: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Argument, bad value, what came of it ("clear", "good", "unclear", "silent"), and the words."""
    defaults = inspect.signature(function).parameters
    for name in arguments:
        for label, value in BAD.items():
            if value is None and name in defaults and defaults[name].default is None:
                continue
            try:
                result = function(**{**arguments, name: value})
            except (MemoryError, Exception) as error:
                text = str(error)
                told = any(part in text for part in (f"`{name}", "Argument `", "must ", "There is no"))
                ours = isinstance(error, OSError) or (told and isinstance(error, ValueError | MemoryError))
                yield name, label, "clear" if ours else "unclear", f"{type(error).__name__}: {text[:100]}"
            else:
                arrays = (leaf for leaf in jax.tree.leaves(result) if isinstance(leaf, jax.Array | np.ndarray))
                leaves = [np.asarray(leaf) for leaf in arrays if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
                silent = any(leaf.dtype.kind == "f" and np.isnan(leaf).any() for leaf in leaves)
                yield name, label, "silent" if silent else "good", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which functions; all when omitted")
    parser.add_argument("--list", action="store_true", help="list what is not told clearly")
    chosen = parser.parse_args()
    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
    warnings.simplefilter("ignore")
    total: Counter[str] = Counter()
    for name, (function, arguments) in calls().items():
        if chosen.names and name not in chosen.names:
            continue
        jnp.asarray(0)
        found = list(outcomes(function, arguments))
        counts = Counter(kind for _, _, kind, _ in found)
        total += counts
        print(
            f"{name:<32}" + "".join(f"{kind} {counts[kind]:>4}  " for kind in ("clear", "good", "unclear", "silent")),
            flush=True,
        )
        if chosen.list:
            for argument, label, kind, words in found:
                if kind in ("unclear", "silent"):
                    print(f"    {kind}: {argument} = {label}: {words!r}", flush=True)
    print(f"{sum(total.values())} calls: {dict(total)}")


if __name__ == "__main__":
    main()
