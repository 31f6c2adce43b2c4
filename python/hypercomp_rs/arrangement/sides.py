"""On which side of the given rows something lies, from the sides of the distinct hyperplanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import _core
from .rows import Rows

if TYPE_CHECKING:
    import numpy.typing as npt


def unshuffled_search(rows: Rows) -> _core.Search:
    """The arrangement of these rows, its hyperplanes numbered as they were given."""
    return _core.Search(rows.entries, rows.dimension, method=_core.Method.FLATS, shuffled=False)


def sides_of_rows(
    rows: Rows, hyperplanes: npt.NDArray[np.int64], signs: npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    """Signs of a·x - b for every row that was given, from those of the distinct hyperplanes.

    `hyperplanes` has the hyperplane of each row, -1 for a row ``0·x = 0``, whose sign is 0. `signs`
    has shape (k, hyperplanes); their first coefficient that is not 0 is positive.
    """
    orientations = _orientations(rows)
    if np.array_equal(hyperplanes, np.arange(signs.shape[1])):
        return signs if (orientations > 0).all() else signs * orientations
    spread = np.zeros((len(signs), len(hyperplanes)), np.int8)
    known = hyperplanes >= 0
    spread[:, known] = signs[:, hyperplanes[known]] * orientations[known]
    return spread


def _orientations(rows: Rows) -> npt.NDArray[np.int8]:
    """The sign of the first coefficient of each row that is not 0."""
    entries = rows.entries
    if not isinstance(entries, np.ndarray):
        leads = [next((n for n, _ in row[:-1] if n), 0) for row in entries]
        return np.array([(n > 0) - (n < 0) for n in leads], np.int8)
    normals = entries[:, :-1]
    if normals.shape[1] == 0:
        return np.zeros(len(entries), np.int8)
    first = np.argmax(normals != 0, axis=1)
    orientations: npt.NDArray[np.int8] = np.sign(normals[np.arange(len(normals)), first])
    return orientations.astype(np.int8)
