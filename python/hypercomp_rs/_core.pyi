from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

__all__ = ["TensorCode", "__version__", "vertices"]

__version__: str

def vertices(
    rows: Sequence[Sequence[tuple[int, int]]],
    dimension: int,
    *,
    zero_rule: bool,
    threads: int | None,
) -> tuple[npt.NDArray[np.int64] | list[int], int | None]: ...

@final
class TensorCode:
    @staticmethod
    def trellis(
        weights: npt.NDArray[Any],
        dtype: str,
        shape: Sequence[int],
        *,
        bits: float,
        window: int,
        seed: int | None,
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
    def decompress_into(
        self, start: int, out: npt.NDArray[Any], dtype: str, threads: int | None
    ) -> None: ...
    def matmul_into(
        self,
        x: npt.NDArray[np.float32],
        batch: int,
        out: npt.NDArray[np.float32],
        threads: int | None,
    ) -> None: ...
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
