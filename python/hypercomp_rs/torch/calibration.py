"""What the inputs of linear layers are: their second moments, from a few batches of real input.

The error that a compressed layer makes is (W - Ŵ)·x, and its mean square tr((W - Ŵ)·H·(W - Ŵ)ᵀ)
with H = E[x·xᵀ]: that is all there is to know of the inputs. The model runs on the batches as it is
used, and a hook before each layer adds up x·xᵀ. Layers that get one and the same tensor (queries,
keys and values; gate and up) share one sum.

H has inputs² numbers, of a wide layer more than its weights. So layers are gone through in the
order in which they run, as many at a time as there is memory for, with one pass over the batches
each. A later pass meets the layers of the earlier ones compressed, as in GPTQ (arXiv 2210.17323),
so its second moments are those of the inputs that there will be.
"""

from __future__ import annotations

import inspect
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from ..errors import InvalidArgumentError, NonFiniteError
from ._codes import _version
from .calibration_batches import call_of, micro_batches
from .gradient_checkpointing import without_caches

# Of a symmetric sum, so many columns at a time are added up, down to the diagonal only. Fewer are
# slower products, and more have more below the diagonal.
COLUMNS = 192
# Of the largest mean square, what is none: far below what damping adds.
TINY = 1e-20


class Layer(NamedTuple):
    """A weight whose inputs are to be known, their length, and the modules that have it."""

    name: str
    inputs: int
    modules: tuple[nn.Module, ...]


# A layer is called with a tensor, of whose tokens some may be padding.
Hear = Callable[[Layer, torch.Tensor, "torch.Tensor | None"], None]


class Site:
    """A place in a model whose vectors one layer gets, or several, and their second moment."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self.vectors = 0
        # Whether the layers have got different tensors after all.
        self.apart = False
        self._sum: torch.Tensor | None = None
        self._calls = dict.fromkeys((layer.name for layer in layers), 0)
        self._inputs: list[tuple[weakref.ref[torch.Tensor], int]] = []

    def shared_by(self, layers: Sequence[Layer]) -> Site:
        """The same place and second moment for these layers."""
        site = Site(layers)
        site.vectors, site._sum = self.vectors, self._sum
        return site

    @property
    def met(self) -> bool:
        """Whether there were vectors, other than zeros."""
        return self._sum is not None and bool(self._sum.diagonal().any())

    @property
    def note(self) -> str:
        """What a report says of the layers here: too few vectors for a second moment, or none."""
        inputs = self.layers[0].inputs
        if not self.vectors:
            return "without calibration: no vector came to it"
        if not self.met:
            return "without calibration: all vectors that came to it are zero"
        if self.vectors < inputs:
            return f"{self.vectors} vectors for {inputs} inputs came to it"
        return ""

    @property
    def nbytes(self) -> int:
        """What its sum takes, in float32."""
        return 4 * self.layers[0].inputs ** 2

    def hear(self, layer: Layer, x: torch.Tensor, mask: torch.Tensor | None) -> None:
        """One of the layers is called with this."""
        call = self._calls[layer.name]
        self._calls[layer.name] += 1
        if layer is self.layers[0]:
            self._inputs.append((weakref.ref(x), _version(x)))
            self._add(x, mask)
        elif call >= len(self._inputs) or not _same(self._inputs[call], x):
            self.apart = True

    def end_batch(self) -> None:
        """All layers have been called as often as the first, or they are apart."""
        self.apart |= len(set(self._calls.values())) > 1
        self._calls = dict.fromkeys(self._calls, 0)
        self._inputs.clear()

    def _add(self, x: torch.Tensor, mask: torch.Tensor | None) -> None:
        if mask is not None and x.dim() > 2 and x.shape[:2] == mask.shape:
            x = x[mask]
        x = x.detach().reshape(-1, x.shape[-1])
        # Sums in float32 are off by less than 1e-6, and 1e-2 is added to the diagonal when used.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        if self._sum is None:
            self._sum = x.new_zeros(x.shape[1], x.shape[1])
        for start in range(0, x.shape[1], COLUMNS):
            stop = min(start + COLUMNS, x.shape[1])
            self._sum[:stop, start:stop].addmm_(x[:, :stop].t(), x[:, start:stop])
        self.vectors += len(x)
        if not self._sum.diagonal().sum().isfinite():
            raise NonFiniteError(
                f"{self.layers[0].name}: an input of this layer is NaN or infinite"
            )

    def second_moment(self) -> torch.Tensor | None:
        """E[x·xᵀ], (inputs, inputs) of float32 or float64; None where no vector came."""
        if self._sum is None or not self.vectors:
            return None
        upper = self._sum.triu().div_(self.vectors)
        # Squares that float32 has no numbers for, though it has for their products with others.
        diagonal = upper.diagonal()
        tiny = diagonal < TINY * diagonal.max()
        upper[tiny] = 0
        upper[:, tiny] = 0
        return upper + upper.triu(1).t()


def _same(met: tuple[weakref.ref[torch.Tensor], int], x: torch.Tensor) -> bool:
    return met[0]() is x and met[1] == _version(x)


class Calibration:
    """A model, and the batches that it is run on.

    Raises
    ------
    InvalidArgumentError
        There are none, or one is nothing that a model can be called with; or the model refuses it.
    NonFiniteError
        An input of a layer is NaN or infinite.
    """

    def __init__(self, model: nn.Module, batches: Iterable[Any]) -> None:
        if isinstance(batches, (torch.Tensor, Mapping, str)) or not isinstance(batches, Iterable):
            raise InvalidArgumentError(
                f"calibration is a {type(batches).__name__}: a list or another iterable of batches "
                "is accepted"
            )
        self._model = model
        # An iterator would be over after one pass.
        self._batches = list(batches) if isinstance(batches, Iterator) else batches
        devices = {parameter.device for parameter in model.parameters()}
        self._device = devices.pop() if len(devices) == 1 else None

    @property
    def model(self) -> nn.Module:
        """What is run on the batches."""
        return self._model

    def sites(self, layers: Sequence[Layer]) -> deque[Site]:
        """The layers by what they get of the first texts, in the order in which they run.

        Those that are not called then come last, each for itself.
        """
        heard: list[tuple[str, torch.Tensor, int]] = []

        def hear(layer: Layer, x: torch.Tensor, mask: torch.Tensor | None) -> None:
            # The tensor is kept for its address to be no other's.
            heard.append((layer.name, x, _version(x)))

        self.run(dict.fromkeys(layers, hear), lambda: True)
        traces: dict[str, tuple[tuple[int, int], ...]] = {}
        for name, x, version in heard:
            traces[name] = (*traces.get(name, ()), (id(x), version))
        order = {name: i for i, name in enumerate(traces)}
        groups: dict[Any, list[Layer]] = {}
        for layer in sorted(layers, key=lambda layer: order.get(layer.name, len(order))):
            groups.setdefault(traces.get(layer.name, layer.name), []).append(layer)
        return deque(map(Site, groups.values()))

    def collect(self, sites: Sequence[Site], backward: BackwardPass | None = None) -> None:
        """Add up what these places get on all batches, the first of them with a backward pass."""
        hear = {layer: site.hear for site in sites for layer in site.layers}

        def end_batch() -> bool:
            for site in sites:
                site.end_batch()
            return False

        self.run(hear, end_batch, backward)

    def run(
        self,
        hear: Mapping[Layer, Hear],
        end_batch: Callable[[], bool],
        backward: BackwardPass | None = None,
    ) -> None:
        """Run the model on one batch after the other, while layers tell what they get.

        Batches of texts are split, see :func:`micro_batches`; after each, `end_batch` says whether
        that is enough. The first ones have a `backward` pass, as long as that is wanted.
        """
        passing = _Pass(self._model, hear)
        batches = 0
        with _listening(self._model, passing.hooks()):
            for batch in self._batches:
                enough = False
                for part in micro_batches(self._model, batch):
                    back = backward if backward is not None and backward.wanted else None
                    with _blamed(batches, back is not None):
                        passing.run(*call_of(self._model, part, batches, self._device), back)
                    if enough := end_batch():
                        break
                batches += 1
                if enough:
                    break
        if not batches:
            raise InvalidArgumentError("calibration: no batch; at least one is needed")


class BackwardPass(Protocol):
    """What takes gradients of what a model gives."""

    @property
    def wanted(self) -> bool:
        """Whether further samples would tell more."""

    def run(self, forward: Callable[[], Any], mask: torch.Tensor | None) -> None:
        """Run the model forward, once or several times, and back."""


class _Pass:
    """The model run on batches, with what is told of the inputs of its layers."""

    def __init__(self, model: nn.Module, hear: Mapping[Layer, Hear]) -> None:
        self._model, self._hear = model, hear
        self._fewer = _fewer_logits(model, hear)
        self._mask: torch.Tensor | None = None
        self._errors: list[Exception] = []
        # Layers are called again where the backward pass computes activations anew.
        self._hearing = False

    def hooks(self) -> dict[Layer, Callable[..., None]]:
        """What goes before layers."""
        return {layer: self._hook(layer) for layer in self._hear}

    def _hook(self, layer: Layer) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            x = first_argument(args, kwargs)
            # What a layer does not take is for the layer to refuse.
            if not self._hearing or not _is_input(x, layer):
                return
            try:
                self._hear[layer](layer, x, self._mask)
            except Exception as error:
                self._errors.append(error)
                raise

        return hook

    def run(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        mask: torch.Tensor | None,
        backward: BackwardPass | None,
    ) -> None:
        """Run it once, and back where that is wanted."""
        if backward is None and len(args) < 2 and "labels" not in kwargs:
            kwargs = self._fewer | kwargs

        def forward() -> Any:
            try:
                return self._model(*args, **kwargs)
            except Exception as error:
                # The model is blamed for what it raises, and for nothing that is raised here.
                if error in self._errors:
                    raise
                raise RefusedError(error) from error
            finally:
                self._hearing = False

        self._mask, self._hearing = mask, True
        if backward is not None:
            backward.run(forward, mask)
            return
        with torch.no_grad():
            forward()


def _is_input(x: Any, layer: Layer) -> bool:
    return isinstance(x, torch.Tensor) and x.shape[-1:] == (layer.inputs,)


@contextmanager
def _blamed(batch: int, gradients: bool) -> Iterator[None]:
    """Errors name the batch."""
    how = " with gradients, which target_bits asks for" if gradients else ""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(f"{error} (calibration, batch {batch})") from None
    except RefusedError as error:
        raise InvalidArgumentError(
            f"calibration, batch {batch}: the model does not take it{how}: {error}"
        ) from error.__cause__


class RefusedError(Exception):
    """A model does not take a batch, or has no backward pass from what it gives."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")


def first_argument(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What a layer is called with; None where that is nothing."""
    return args[0] if args else next(iter(kwargs.values()), None)


@contextmanager
def _listening(model: nn.Module, hooks: Mapping[Layer, Callable[..., None]]) -> Iterator[None]:
    """Hooks before layers, evaluation, no caches; afterwards all is as it was."""
    training = {module: module.training for module in model.modules()}
    handles = []
    try:
        for layer, hook in hooks.items():
            for module in layer.modules:
                handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        model.eval()
        with torch.inference_mode(False), without_caches(model):
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module, flag in training.items():
            module.training = flag


def _fewer_logits(model: nn.Module, layers: Iterable[Layer]) -> dict[str, Any]:
    """What tells a language model of transformers to leave out logits, a quarter of SmolLM's work.

    Nothing for other models, nor where the inputs of the layer that makes them are wanted.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None or any(head in layer.modules for layer in layers):
        return {}
    try:
        takes = "logits_to_keep" in inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return {}
    return {"logits_to_keep": 1} if takes else {}
