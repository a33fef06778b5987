"""Loss curves as they are observed: from a `Curve`, from repeats of one, from arrays or from a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from aetheory.core.checks import fail
from aetheory.core.curve import Curve

RISKS = ("train", "population")


@dataclass(frozen=True)
class Observations:
    """Observed risks at common times.

    Arguments:
        times: shape (num_times,), in the recorded unit.
        risks: which values were observed: "train" and "population" risk of a linear problem.
        values: their means over the repeats, shape (num_risks, num_times).
        errors: standard errors of these means, of the same shape; `None` where they are not known.
        repeats: the single repeats, shape (num_repeats, num_risks, num_times); `None` where they are not known.
        num_repeats: how many draws were averaged; 0 where that is not known.
    """

    times: Float64[np.ndarray, " times"]
    risks: tuple[str, ...]
    values: Float64[np.ndarray, "risks times"]
    errors: Float64[np.ndarray, "risks times"] | None = None
    repeats: Float64[np.ndarray, "repeats risks times"] | None = None
    num_repeats: int = 0

    @classmethod
    def read_csv(cls, path: str | Path, columns: Mapping[str, str] | None = None) -> "Observations":
        """Read the columns `time`, `train` and `population` of a file with a header, or those that are there.

        Arguments:
            path: the file.
            columns: other names for them, e.g. `{"time": "epoch", "train": "loss"}`. A column that is named must be
                there.

        Raises:
            ValueError: no such column, or an entry that is no number.
            OSError: the file cannot be read.
        """
        given = dict(columns or {})
        if unknown := set(given) - {"time", *RISKS}:
            raise fail("columns", "a mapping from 'time', 'train' and 'population'", sorted(unknown))
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            rows = list(reader)
        wanted = {
            role: given.get(role, role)
            for role in ("time", *RISKS)
            if role in given or role == "time" or role in header
        }
        missing = [name for name in wanted.values() if name not in header]
        if missing or len(wanted) == 1:
            named = ", ".join(map(repr, missing)) or "'train' or 'population'"
            raise ValueError(f"File {path} has no column {named}; its columns are {', '.join(map(repr, header))}.")
        return cls.of({role: [_number(row[name], name, path) for row in rows] for role, name in wanted.items()})

    @classmethod
    def of(cls, observed: Any, risks: Sequence[str] | None = None) -> "Observations":
        """The observations in whatever `fit` takes.

        Arguments:
            observed: `Observations`; a `Curve`, with a leading axis for repeats where it has one; a sequence of
                curves, one a repeat; a mapping from "time" and one or both of "train" and "population" to arrays of
                shape (num_times,) or (num_repeats, num_times); or the path of a CSV file.
            risks: which to keep; all when omitted.

        Raises:
            ValueError: NaN or infinite entries, shapes that do not fit, times that are not increasing, no risk.
        """
        if isinstance(observed, Observations):
            found = observed
        elif isinstance(observed, str | Path):
            found = cls.read_csv(observed)
        elif isinstance(observed, Curve):
            found = _from_curve(observed)
        elif isinstance(observed, Mapping):
            found = _from_arrays(observed)
        elif isinstance(observed, Sequence) and observed and all(isinstance(one, Curve) for one in observed):
            times = np.asarray(observed[0].times)
            if any(one.times.shape != times.shape or (np.asarray(one.times) != times).any() for one in observed):
                raise ValueError("Argument `curve` must hold repeats at the same times, but its times differ.")
            stacked = {
                name: np.stack([np.asarray(one.values[name]) for one in observed]) for name in observed[0].values
            }
            found = _from_arrays({"time": times, **stacked})
        else:
            raise fail("curve", "a Curve, a sequence of them, a mapping of arrays or the path of a CSV file", observed)
        return found if risks is None else found._keep(tuple(risks))

    def without_repeat(self, index: int) -> "Observations":
        """What the others of at least three repeats tell."""
        assert self.repeats is not None
        return _of_repeats(self.times, self.risks, np.delete(self.repeats, index, axis=0))

    def _keep(self, risks: tuple[str, ...]) -> "Observations":
        if not risks or any(risk not in self.risks for risk in risks):
            raise fail("risks", f"made of the observed ones, {', '.join(map(repr, self.risks))}", risks)
        chosen = [self.risks.index(risk) for risk in risks]
        return Observations(
            self.times,
            risks,
            self.values[chosen],
            None if self.errors is None else self.errors[chosen],
            None if self.repeats is None else self.repeats[:, chosen],
            self.num_repeats,
        )


def _from_curve(curve: Curve) -> Observations:
    values = {name: np.asarray(array, np.float64) for name, array in curve.values.items()}
    times = np.asarray(curve.times, np.float64)
    if times.ndim > 1:  # as `jax.vmap` over keys leaves them
        times = times.reshape(-1, times.shape[-1])[0]
    found = _from_arrays({"time": times, **values})
    if curve.std is None or curve.num_repeats < 2 or found.repeats is not None:
        return found
    spread = np.stack([np.asarray(curve.std[name], np.float64) for name in curve.values])
    _check_finite("the curve's `std`", spread)
    return Observations(
        found.times, found.risks, found.values, spread / curve.num_repeats**0.5, None, curve.num_repeats
    )


def _from_arrays(arrays: Mapping[str, Any]) -> Observations:
    risks = tuple(sorted((name for name in arrays if name != "time"), key=lambda name: name != "train"))
    if "time" not in arrays or not risks:
        raise fail("curve", "a mapping from 'time' and one or both of 'train' and 'population'", sorted(arrays))
    times = np.asarray(arrays["time"], np.float64)
    if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all() or (times < 0).any():
        raise fail("time", "a non-empty vector of finite, nonnegative times", arrays["time"])
    if (np.diff(times) < 0).any():
        raise fail("time", "in increasing order", arrays["time"])
    columns = [np.asarray(arrays[risk], np.float64) for risk in risks]
    for risk, column in zip(risks, columns, strict=True):
        if column.ndim not in (1, 2) or column.shape[-1] != times.size or column.shape != columns[0].shape:
            raise ValueError(
                f"Argument `{risk}` must have shape ({times.size},), or (num_repeats, {times.size}), like the other "
                f"risks, but got shape {column.shape}."
            )
        _check_finite(f"`{risk}`", column)
    stacked = np.stack(columns, axis=-2)
    if stacked.ndim == 2 or len(stacked) == 1:
        return Observations(times, risks, stacked.reshape(len(risks), times.size), num_repeats=1)
    return _of_repeats(times, risks, stacked)


def _of_repeats(
    times: Float64[np.ndarray, " times"],
    risks: tuple[str, ...],
    repeats: Float64[np.ndarray, "repeats risks times"],
) -> Observations:
    errors = repeats.std(axis=0, ddof=1) / len(repeats) ** 0.5
    return Observations(times, risks, repeats.mean(axis=0), errors, repeats, len(repeats))


def _check_finite(name: str, values: Float64[np.ndarray, "..."]) -> None:
    if count := int(np.sum(~np.isfinite(values))):
        raise ValueError(f"The observed {name} must be finite, but {count} of {values.size} entries are not.")


def _number(text: Any, column: str, path: str | Path) -> float:
    try:
        return float(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"File {path} has {text!r} in column {column!r}, where a number must be.") from error
