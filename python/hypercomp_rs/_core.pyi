from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "Control",
    "DeviceMemory",
    "DeviceTensor",
    "Method",
    "RegionSearch",
    "Search",
    "TensorCode",
    "__version__",
    "approximate_vertices",
    "big_vertex_rows",
    "characteristic_polynomial",
    "close_devices",
    "cuda_version",
    "default_threads",
    "device_of",
    "devices",
    "dlpack_view",
    "faces",
    "group_entries",
    "header_length",
    "integer_rows",
    "intersection_lattice",
    "kernel_stamp",
    "lowest_terms",
    "ratio_rows",
    "rational_rows",
    "read_header",
    "read_representation",
    "shares_openmp",
    "simd_available",
    "simd_in_use",
    "skeleton",
    "use_openmp",
    "vertex_rows",
    "vertex_signs",
    "write_header",
]

__version__: str

def lowest_terms(
    numbers: npt.NDArray[np.uint64], dimension: int, limbs: int, *, threads: int | None
) -> npt.NDArray[np.int64] | list[int]: ...

_Regions = tuple[
    npt.NDArray[np.int8],
    npt.NDArray[np.int64],
    list[tuple[int, list[int]]],
    npt.NDArray[np.bool_],
]

@final
class RegionSearch:
    def __new__(cls, search: Search, *, threads: int | None) -> RegionSearch: ...
    def whole(self, *, threads: int | None) -> _Regions: ...
    def next_block(
        self, vertices: int, *, threads: int | None, control: Control
    ) -> _Regions | None: ...

def faces(search: Search, dimension: int, *, threads: int | None) -> _Regions: ...
def characteristic_polynomial(search: Search, *, threads: int | None) -> list[int]: ...
def intersection_lattice(
    search: Search, *, threads: int | None
) -> list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32], list[int]]]: ...
def skeleton(
    search: Search,
    starts: npt.NDArray[np.uint64],
    through: npt.NDArray[np.uint32],
    *,
    threads: int | None,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.bool_]]: ...
def vertex_signs(
    search: Search, numbers: npt.NDArray[np.uint64], *, threads: int | None
) -> npt.NDArray[np.int8]: ...

@final
class Method:
    FLATS: ClassVar[Method]
    ZERO: ClassVar[Method]
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __int__(self, /) -> int: ...

@final
class Search:
    def __new__(
        cls,
        rows: npt.NDArray[Any] | Sequence[Sequence[tuple[int, int]]],
        dimension: int,
        *,
        method: Method,
        shuffled: bool = False,
    ) -> Search: ...
    def within(self, rows: npt.NDArray[Any] | Sequence[Sequence[tuple[int, int]]]) -> Search: ...
    @property
    def dimension(self) -> int: ...
    @property
    def limbs(self) -> int: ...
    @property
    def hyperplanes(self) -> npt.NDArray[np.int64]: ...
    def run(
        self,
        jobs: Sequence[tuple[Sequence[int], int, int]],
        *,
        threads: int | None,
        coordinates: bool,
        all_flats: bool,
        most: int | None,
        seconds: float | None,
        end: float | None,
        sort: bool,
        control: Control | None,
    ) -> tuple[npt.NDArray[np.uint64], int, int, list[int], list[tuple[list[int], int, int]]]: ...
    def canonical(self, first: int, count: int, *, inequalities: bool = False) -> bytes: ...
    def finds_soon(self) -> bool: ...
    def release(self) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    def sizes(self, probes: int, seed: int) -> tuple[float, float]: ...
    def probes(self, probes: int, seed: int) -> list[float]: ...
    def random_jobs(
        self, probes: int, depth: int, seed: int
    ) -> list[tuple[tuple[list[int], int, int], float]]: ...
    def sort(
        self, numbers: npt.NDArray[np.uint64], threads: int | None
    ) -> npt.NDArray[np.uint64]: ...
    def incidence(
        self, numbers: npt.NDArray[np.uint64], threads: int | None
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]: ...

def approximate_vertices(
    search: Search, *, tolerance: float, threads: int | None
) -> tuple[npt.NDArray[np.float64], int, int]: ...
def read_representation(
    file: bytes, *, points: bool
) -> tuple[
    int,
    npt.NDArray[np.int64]
    | tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    | list[tuple[int, int]],
    list[int],
    bool,
    str,
    list[str],
]: ...
def vertex_rows(numbers: npt.NDArray[np.int64], dimension: int) -> bytes: ...
def ratio_rows(
    numerators: npt.NDArray[np.int64],
    denominators: npt.NDArray[np.int64],
    dimension: int,
    head: str,
) -> bytes: ...
def integer_rows(numbers: npt.NDArray[np.int64], columns: int) -> bytes: ...
def rational_rows(rows: Sequence[Sequence[tuple[int, int]]]) -> bytes: ...
def big_vertex_rows(numbers: Sequence[int], dimension: int) -> bytes: ...

@final
class Control:
    def __new__(cls) -> Control: ...
    def cancel(self) -> None: ...
    @property
    def done(self) -> int: ...

@final
class TensorCode:
    @staticmethod
    def trellis(
        weights: npt.NDArray[Any],
        dtype: str,
        shape: Sequence[int],
        *,
        bits: float,
        sqnr_db: float | None,
        max_error: float | None,
        keep_zeros: bool,
        window: int,
        seed: int | None,
        tiles: bool,
        threads: int | None,
        control: Control | None = None,
        second_moment: npt.NDArray[Any] | None = None,
        damping: float = 0.0,
        input_axis: int = 1,
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
    def rows_into(
        self,
        indices: npt.NDArray[np.int64],
        out: npt.NDArray[Any],
        dtype: str,
        threads: int | None,
    ) -> None: ...
    def matmul_into(
        self,
        x: npt.NDArray[Any],
        batch: int,
        out: npt.NDArray[Any],
        dtype: str,
        threads: int | None,
    ) -> None: ...
    def linear_at(
        self,
        x: int,
        batch: int,
        bias: int,
        out: int,
        dtype: str,
        transposed: bool,
        threads: int | None,
    ) -> None: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def codec(self) -> str: ...
    @property
    def swapped(self) -> bool: ...
    @property
    def exceptions(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def sqnr_db(self) -> float: ...
    def to_parts(self) -> tuple[str, dict[str, npt.NDArray[np.uint8]]]: ...
    @staticmethod
    def from_parts(
        description: str, parts: Mapping[str, npt.NDArray[np.uint8]], verify: bool
    ) -> TensorCode: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> TensorCode: ...

@final
class DeviceMemory:
    def __new__(cls, device: int, nbytes: int) -> DeviceMemory: ...
    @staticmethod
    def holding(device: int, data: npt.NDArray[np.uint8], stream: int) -> DeviceMemory: ...
    def read_into(self, out: npt.NDArray[np.uint8], stream: int) -> None: ...
    def wait(self, stream: int) -> None: ...
    def dlpack(self, code: int, bits: int, shape: Sequence[int]) -> object: ...
    @property
    def pointer(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def device(self) -> int: ...

@final
class DeviceTensor:
    def __new__(
        cls,
        code: TensorCode,
        device: int,
        stream: int,
        planes: Sequence[tuple[int, int]] | None,
    ) -> DeviceTensor: ...
    @staticmethod
    def stream_table(code: TensorCode) -> npt.NDArray[np.uint8]: ...
    @property
    def streams_a_row(self) -> int | None: ...
    def decode_rows_into(
        self, dtype: str, table: tuple[int, int], out: tuple[int, int], stream: int
    ) -> None: ...
    @staticmethod
    def planes_of(code: TensorCode) -> list[str]: ...
    @property
    def device(self) -> int: ...
    @property
    def multiplies(self) -> bool: ...
    @property
    def by_tensor_cores(self) -> bool: ...
    def decode_workspace(self, dtype: str) -> int: ...
    def product_workspace(self, batch: int) -> int: ...
    def decodes(self, start: int, stop: int) -> bool: ...
    def warm(self, dtype: str, stream: int) -> None: ...
    def decode_into(
        self,
        dtype: str,
        start: int,
        stop: int,
        out: tuple[int, int],
        workspace: tuple[int, int],
        stream: int,
    ) -> None: ...
    def multiply_into(
        self,
        dtype: str,
        batch: int,
        x: tuple[int, int],
        out: tuple[int, int],
        workspace: tuple[int, int],
        stream: int,
    ) -> None: ...

def use_openmp(parallel: int) -> None: ...
def shares_openmp() -> bool: ...
def default_threads() -> int: ...
def simd_available() -> list[str]: ...
def simd_in_use() -> str: ...
def devices() -> list[tuple[str, int, int]]: ...
def close_devices() -> None: ...
def cuda_version() -> str: ...
def kernel_stamp() -> str: ...
def device_of(pointer: int) -> int | None: ...
def dlpack_view(capsule: object) -> tuple[int, int, int, int, list[int], bool, bool]: ...

_Tensor = tuple[str, str, list[int], int, int]

def header_length(first: bytes, file: int) -> int: ...
def read_header(json: bytes, file: int) -> tuple[list[_Tensor], dict[str, str]]: ...
def group_entries(
    entries: Sequence[tuple[str, str, Sequence[int]]],
) -> list[tuple[str, int, dict[str, int]]]: ...
def write_header(
    tensors: Sequence[tuple[str, str, Sequence[int]]], metadata: dict[str, str]
) -> tuple[bytes, list[_Tensor]]: ...
