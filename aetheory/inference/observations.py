"""Loss curves as they are observed: from a `Curve`, from repeats of one, from arrays or from a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from aetheory.core.checks import fail
from aetheory.core.curve import Curve
from aetheory.core.meaning import value_names


@dataclass(frozen=True)
class Observations:
    """Observed values, such as risks, at common times.

    Arguments:
        times: shape (num_times,), in the recorded unit.
        risks: names of the observed values of a curve, such as "train" and "population".
        values: their means over the repeats, shape (num_risks, num_times).
        errors: standard errors of these means, of the same shape; `None` where they are not known.
        repeats: the single repeats, shape (num_repeats, num_risks, num_times); `None` where they are not known.
        num_repeats: how many draws were averaged.
    """

    times: Float64[np.ndarray, " times"]
    risks: tuple[str, ...]
    values: Float64[np.ndarray, "risks times"]
    errors: Float64[np.ndarray, "risks times"] | None = None
    repeats: Float64[np.ndarray, "repeats risks times"] | None = None
    num_repeats: int = 1

    @classmethod
    def read_csv(
        cls, path: str | Path, columns: Mapping[str, str] | None = None, problem_type: type | None = None
    ) -> "Observations":
        """Observations in a CSV file with a header: its column `time`, and those named like values of a curve.

        Arguments:
            path: the file.
            columns: other headers for them, e.g. `{"time": "epoch", "train": "loss"}`, which must be there.
            problem_type: class of the problem that was trained, whose values are read; any problem's when omitted.

        Raises:
            ValueError: an unknown value, no such column, or an entry that is no number.
            OSError: the file cannot be read.
        """
        return _of_arrays(_read_columns(path, columns or {}, value_names(problem_type)))

    @classmethod
    def of(cls, observed: Any, problem_type: type | None = None) -> "Observations":
        """Observations from a curve, repeats of it, arrays or a file: what `fit` takes.

        Arguments:
            observed: a `Curve`, with a leading axis for repeats where it has one; a sequence of curves, one a repeat;
                a mapping from "time" and names of risks to arrays of shape (num_times,) or (num_repeats, num_times);
                or the path of a CSV file.
            problem_type: as for `read_csv`, where a file is read.

        Raises:
            ValueError: NaN or infinite entries, shapes that do not fit, times that are not increasing, no risk.
        """
        found = _of_arrays(_arrays(observed, value_names(problem_type)))
        std, count = getattr(observed, "std", None), getattr(observed, "num_repeats", 0)
        if std is None or count < 2 or found.repeats is not None:
            return found
        spread = np.stack([_finite(f"std of {risk}", std[risk]) for risk in found.risks])
        return replace(found, errors=spread / count**0.5, num_repeats=count)

    @property
    def weights(self) -> Float64[np.ndarray, "risks times"]:
        """1/√(errors² + their mean square/16); 1 where they are not known.

        From few repeats the errors are noisy, and where all draws start alike they vanish: neither may rule a fit.
        """
        if self.errors is None or not self.errors.any():
            return np.ones_like(self.values)
        weights: Float64[np.ndarray, "risks times"] = 1 / np.hypot(self.errors, np.sqrt(np.mean(self.errors**2)) / 4)
        return weights

    def with_repeats(self, repeats: Float64[np.ndarray, "repeats risks times"]) -> "Observations":
        """Observations of the mean of these repeats, with its standard errors."""
        errors = repeats.std(axis=0, ddof=1) / len(repeats) ** 0.5
        return Observations(self.times, self.risks, repeats.mean(axis=0), errors, repeats, len(repeats))


def _arrays(observed: Any, values: Sequence[str]) -> Mapping[str, Any]:
    """Times and values by name."""
    if isinstance(observed, str | Path):
        return _read_columns(observed, {}, values)
    if isinstance(observed, Mapping):
        return observed
    if isinstance(observed, Curve):
        times = np.asarray(observed.times)
        # `jax.vmap` over keys leaves the times of every repeat
        return {"time": times.reshape(-1, times.shape[-1])[0], **dict(observed.values.items())}
    if not isinstance(observed, Sequence) or not observed or not all(isinstance(one, Curve) for one in observed):
        raise fail("curve", "a Curve, a sequence of them, a mapping of arrays or the path of a CSV file", observed)
    first = observed[0]
    if not all(np.array_equal(one.times, first.times) for one in observed):
        raise ValueError("Argument `curve` must hold repeats at the same times, but its times differ.")
    return {"time": first.times, **{name: np.stack([one.values[name] for one in observed]) for name in first.values}}


def _of_arrays(arrays: Mapping[str, Any]) -> Observations:
    risks = tuple(name for name in arrays if name != "time")
    if "time" not in arrays or not risks:
        raise fail(
            "curve", "a mapping from 'time' and names of values, such as 'train' and 'population'", sorted(arrays)
        )
    times = _finite("time", arrays["time"])
    if times.ndim != 1 or times.size == 0 or (times < 0).any() or (np.diff(times) < 0).any():
        raise fail("time", "a non-empty vector of nonnegative times in increasing order", arrays["time"])
    columns = [_finite(risk, arrays[risk]) for risk in risks]
    for risk, column in zip(risks, columns, strict=True):
        if column.ndim not in (1, 2) or column.shape[-1] != times.size or column.shape != columns[0].shape:
            shapes = f"({times.size},), or (num_repeats, {times.size}), like the other risks"
            raise ValueError(f"Argument `{risk}` must have shape {shapes}, but got shape {column.shape}.")
    repeats = np.stack(columns, axis=-2).reshape(-1, len(risks), times.size)
    found = Observations(times, risks, repeats[0])
    return found.with_repeats(repeats) if len(repeats) > 1 else found


def _finite(name: str, values: Any) -> Float64[np.ndarray, "..."]:
    array = np.asarray(values, np.float64)
    if count := int(np.sum(~np.isfinite(array))):
        raise ValueError(f"The observed `{name}` must be finite, but {count} of {array.size} entries are not.")
    return array


def _read_columns(path: str | Path, columns: Mapping[str, str], values: Sequence[str]) -> dict[str, list[float]]:
    """The columns of a CSV file by what they stand for."""
    if unknown := set(columns) - {"time", *values}:
        raise fail("columns", f"a mapping from 'time' and {', '.join(map(repr, values))}", sorted(unknown))
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        header, *rows = list(csv.reader(file, skipinitialspace=True)) or [[]]
    names = [name.strip() for name in header]
    wanted = {"time": "time"} | {value: value for value in values if value in names} | dict(columns)
    missing = [name for name in wanted.values() if name not in names]
    if missing or len(wanted) == 1:
        named = ", ".join(map(repr, missing)) or " or ".join(map(repr, values))
        raise ValueError(f"File {path} has no column {named}; its columns are {', '.join(map(repr, names))}.")
    try:
        return {role: [float(row[names.index(name)]) for row in rows if row] for role, name in wanted.items()}
    except (IndexError, ValueError) as error:
        named = ", ".join(map(repr, wanted.values()))
        raise ValueError(f"File {path} must hold numbers in its columns {named}: {error}.") from error
