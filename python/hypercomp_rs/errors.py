"""The exceptions of `hypercomp_rs`.

Each derives from :class:`HypercompError` and from a built-in exception, so that both
``except HypercompError`` and, for instance, ``except ValueError`` catch it.
"""


class HypercompError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidArgumentError(HypercompError, ValueError):
    """An argument is not accepted. The message says which one, and what is accepted."""


class NonFiniteError(InvalidArgumentError):
    """A weight or a coefficient is NaN or infinite. The message gives its position."""


class OutOfBoundsError(HypercompError, IndexError):
    """An index is beyond the end of an axis, or there are more indices than axes."""


class DtypeError(HypercompError, TypeError):
    """An element type or a type of argument that the call does not accept."""


class EmptyHyperplaneError(InvalidArgumentError):
    """A row reads ``0·x = c`` with ``c != 0``: no point satisfies it."""


class ReadOnlyError(InvalidArgumentError, AttributeError):
    """Code tries to write to a compressed weight or to train it. The message says what to do."""


class FormatError(HypercompError, ValueError):
    """Stored bytes are not valid: truncated, altered, or of an unknown version."""


class TooLargeError(HypercompError, OverflowError):
    """A size that this machine or the format cannot hold."""


class OutOfMemoryError(HypercompError, MemoryError):
    """The machine has no memory for so large a result; the message says what to do instead."""


class CancelledError(HypercompError, RuntimeError):
    """The call was stopped by its caller before it had a result."""


class MissingExtraError(HypercompError, ImportError):
    """A feature needs a package that only an extra of this one installs; the message names it."""


class GpuError(HypercompError, RuntimeError):
    """A call to a CUDA device or its driver failed. The message says what to do."""


class DriverNotFoundError(GpuError, OSError):
    """There is no CUDA driver library on this machine."""


class OldDriverError(GpuError):
    """The CUDA driver is too old for the kernels, or lacks a function that they need."""


class DeviceNotFoundError(GpuError):
    """There is no CUDA device with this number, or it cannot be used at present."""


class ArchitectureError(GpuError):
    """A CUDA device is older than all architectures that the kernels are compiled for."""


class KernelImageError(GpuError):
    """The CUDA driver refuses the compiled kernels."""


class DeviceMemoryError(GpuError, MemoryError):
    """A CUDA device does not have enough free memory."""


class CheckpointWarning(UserWarning):
    """The state of a search could not be written to its checkpoint; the search goes on."""


class StaysDenseWarning(UserWarning):
    """Weights that were to be compressed, or are stored compressed, stay dense in memory.

    The message names them and says why.
    """


class StaysInMemoryWarning(UserWarning):
    """A device map puts codes on the disk, but they stay in memory. The message says what to do."""


class UnusedWeightsWarning(UserWarning):
    """The model that a checkpoint is loaded into has no layers for some compressed weights."""


class UnknownTransformersWarning(UserWarning):
    """The installed version of transformers cannot save compressed models."""


class SlowPathWarning(UserWarning):
    """A large weight is processed in a way that takes many times as long as usual.

    The message says why, and where this is described. The result is the same.
    """


class NearToleranceWarning(UserWarning):
    """Some decisions of a search in floats were so close to its tolerance that they may be wrong.

    The result may lack vertices, contain some twice, or contain points that are none.
    """


class SourceWarning(UserWarning):
    """A model is read in an unexpected way. The message names the file and says how."""


class MadeDenseWarning(UserWarning):
    """A compressed layer was made dense, as it was used in a way that needs dense weights.

    It now takes as much memory as before compression.
    """
