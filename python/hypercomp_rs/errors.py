"""The exceptions of `hypercomp_rs`.

Each derives from :class:`HypercompError` and from the built-in that a caller would otherwise
catch, so both ``except HypercompError`` and ``except ValueError`` do what they say.
"""


class HypercompError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidArgumentError(HypercompError, ValueError):
    """An argument is outside what is accepted; the message says which, where, and what is."""


class NonFiniteError(InvalidArgumentError):
    """A weight or a coefficient is NaN or infinite; the message gives its position."""


class OutOfBoundsError(HypercompError, IndexError):
    """An index beyond the end of an axis, or more indices than there are axes."""


class DtypeError(HypercompError, TypeError):
    """An element type that the call does not take."""


class EmptyHyperplaneError(InvalidArgumentError):
    """A row reads ``0·x = c`` with ``c != 0``: no point satisfies it."""


class ReadOnlyError(InvalidArgumentError, AttributeError):
    """A compressed weight was to be written to, or to train; the message says what to do first."""


class FormatError(HypercompError, ValueError):
    """Stored bytes are no valid code: truncated, altered, or of an unknown version."""


class TooLargeError(HypercompError, OverflowError):
    """A size that this machine or the format cannot hold."""


class OutOfMemoryError(HypercompError, MemoryError):
    """The machine has no memory for so large a result; the message says what to do instead."""


class CancelledError(HypercompError, RuntimeError):
    """The call was stopped by its caller before it had a result."""


class MissingExtraError(HypercompError, ImportError):
    """A feature needs a package that only an extra of this one installs; the message names it."""


class GpuError(HypercompError, RuntimeError):
    """A CUDA device or its driver did not do what was asked; the message says what to do."""


class DriverNotFoundError(GpuError, OSError):
    """There is no CUDA driver library on this machine."""


class OldDriverError(GpuError):
    """The CUDA driver is older than the kernels, or lacks something that they need."""


class DeviceNotFoundError(GpuError):
    """There is no CUDA device of that number, or it cannot be used now."""


class ArchitectureError(GpuError):
    """A CUDA device is older than anything the kernels are compiled for."""


class KernelImageError(GpuError):
    """The CUDA driver does not take the compiled kernels."""


class DeviceMemoryError(GpuError, MemoryError):
    """A CUDA device has not so much memory left."""


class CheckpointWarning(UserWarning):
    """The state of a search could not be written to its checkpoint; the search goes on."""


class StaysDenseWarning(UserWarning):
    """Weights that were to be compressed, or are stored compressed, stay dense in memory.

    The message names them and says why.
    """


class StaysInMemoryWarning(UserWarning):
    """Codes that a device map puts on the disk stay in memory; the message says what to do."""


class UnusedWeightsWarning(UserWarning):
    """Compressed weights of a checkpoint have no place in the model that it was loaded into."""


class UnknownTransformersWarning(UserWarning):
    """The transformers that is installed is of a version that cannot save compressed models."""


class SlowPathWarning(UserWarning):
    """Something large is computed by a way that takes many times as long as the usual one.

    The message says what, why, and where that is described. The result is the same.
    """


class NearToleranceWarning(UserWarning):
    """A search in floats took decisions so near its tolerance that it may have taken them wrongly.

    The result may lack vertices, or hold some twice or where there are none.
    """


class SourceWarning(UserWarning):
    """A model is read otherwise than one may expect: the message names the file and says how."""


class MadeDenseWarning(UserWarning):
    """A compressed layer was made dense, because it was asked for what only dense weights do.

    It takes as much memory as before compression.
    """
