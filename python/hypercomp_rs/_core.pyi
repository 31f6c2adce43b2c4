from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "TensorCode",
    "__version__",
    "approximate_vertices",
    "baseline_vertices",
    "big_vertex_rows",
    "read_representation",
    "vertex_rows",
    "vertices",
]

__version__: str

def vertices(
    rows: Sequence[Sequence[tuple[int, int]]],
    dimension: int,
    *,
    zero_rule: bool,
    threads: int | None,
) -> tuple[npt.NDArray[np.int64] | list[int], int | None]: ...
def approximate_vertices(
    rows: Sequence[Sequence[tuple[int, int]]],
    dimension: int,
    *,
    tolerance: float,
    threads: int | None,
) -> tuple[npt.NDArray[np.float64], int, int]: ...
def baseline_vertices(
    rows: Sequence[Sequence[tuple[int, int]]], dimension: int, *, method: str
) -> tuple[int, int, int]: ...
def read_representation(
    file: bytes, *, points: bool
) -> tuple[
    int,
    npt.NDArray[np.int64] | list[tuple[int, int]],
    list[int],
    bool,
    str,
    list[str],
]: ...
def vertex_rows(numbers: npt.NDArray[np.int64], dimension: int) -> bytes: ...
def big_vertex_rows(numbers: Sequence[int], dimension: int) -> bytes: ...

@final
class TensorCode:
    @staticmethod
    def trellis(
        weights: npt.NDArray[Any],
        dtype: str,
        shape: Sequence[int],
        *,
        bits: int,
        window: int,
        seed: int,
        threads: int | None,
    ) -> TensorCode: ...
    @staticmethod
    def winding(
        weights: npt.NDArray[Any],
        dtype: str,
        shape: Sequence[int],
        *,
        group: int,
        side: float,
        samples: int,
        class_max: int,
        threshold: float,
        threads: int | None,
    ) -> TensorCode: ...
    def decompress_into(self, out: npt.NDArray[Any], dtype: str, threads: int | None) -> None: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def codec(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def sqnr_db(self) -> float: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> TensorCode: ...
