"""A model of transformers without its weights: its list of blocks, and what each is called with.

The model's own code prepares what blocks are called with: embeddings, masks, positions. It is run
anew for each sample and block, with every block replaced by a function. Those before the block in
question give what they gave when it was their turn; at the block itself the run ends. So nothing
here knows an architecture. It has to be one whose blocks are called once each, in their order, each
with what the block before it gave. :meth:`Outline.probe` checks that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers.initialization import no_init_weights

from ...checkpoint.configuration import CONFIG
from ...checkpoint.source import Source
from ...errors import HypercompError, InvalidArgumentError
from ..calibration import first_argument
from ..owners import classes
from .parts import COMPUTED, Parts, read_rows, reads_rows
from .states import State

# Tables of at least this number of bytes are not read as a whole, only the rows of each sample.
LARGE_TABLE = 1 << 24


class _Arrived(Exception):
    """The model calls the block in question."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.args, self.kwargs = args, kwargs


class Enough(Exception):
    """Nothing of what follows is needed."""


class Template(NamedTuple):
    """The form of a block's output: a tensor, or a tuple or list of tensors and other values."""

    kind: type | None
    items: tuple[Any, ...]
    """Other values; None in the place of a tensor."""
    tensors: tuple[int, ...]
    """The places of tensors."""

    @classmethod
    def of(cls, output: Any) -> tuple[Template, State] | None:
        """The form of an output and its tensors; None for any other form."""
        if isinstance(output, torch.Tensor):
            return cls(None, (None,), (0,)), [output]
        if type(output) not in (tuple, list):
            return None
        places = tuple(i for i, item in enumerate(output) if isinstance(item, torch.Tensor))
        others = [item for i, item in enumerate(output) if i not in places]
        if not places or not all(isinstance(o, (type(None), bool, int, float)) for o in others):
            return None
        items = tuple(None if i in places else item for i, item in enumerate(output))
        return cls(type(output), items, places), [output[i] for i in places]

    def filled(self, tensors: Sequence[torch.Tensor]) -> Any:
        """An output of this form."""
        if self.kind is None:
            return tensors[0]
        items = list(self.items)
        for place, tensor in zip(self.tensors, tensors, strict=True):
            items[place] = tensor
        return self.kind(items)


class Outline:
    """A model whose weights are read when they are needed.

    Attributes
    ----------
    model
        The model. Its parameters are on the meta device.
    blocks_name
        The name of its list of blocks.
    blocks
        The blocks.
    parts
        Where the checkpoint's tensors go.
    template
        The form of what a block gives, once one has been run.
    state_nbytes
        Bytes of the state of the sample that was probed.

    Raises
    ------
    InvalidArgumentError
        The checkpoint is none that transformers can make a model of, or the model has no list of
        blocks.
    """

    def __init__(self, source: Source, device: torch.device) -> None:
        self._source, self.device = source, device
        self.folder = folder_of(source)
        self.model = _without_weights(self.folder)
        for module in self.model.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and not buffer.is_meta:
                    module._buffers[name] = buffer.to(device)
        self.parts = Parts(self.model, source, device)
        self.blocks_name, self.blocks = self._find_blocks()
        self._forwards = [block.forward for block in self.blocks]
        for i, block in enumerate(self.blocks):
            block.forward = self._stand_in(i)
        self._inside = {id(module) for block in self.blocks for module in block.modules()}
        # The block that runs, the one at which a run ends, and the next that should be called.
        self._open, self._target, self._next = -1, 0, 0
        self._given: State = []
        self.template: Template | None = None
        self.state_nbytes = 0
        self._rows = _Rows(source)
        # Linear layers in no block, in the order in which the model calls them; and the last one
        # whose inputs are wanted, at which a run ends.
        self.called: list[str] = []
        self.last: str | None = None
        self._probing = False
        self._loaded: set[str] = set()
        self._load_others_when_called()

    @property
    def positions(self) -> int:
        """The most tokens that the model takes."""
        config = self.model.config.get_text_config()
        most = getattr(config, "max_position_embeddings", None)
        if not isinstance(most, int) or most < 1:
            return 1 << 31
        # Positions of RoBERTa begin after the number of the token that stands for padding.
        after = [
            m.padding_idx
            for n, m in self.outside()
            if n.endswith("position_embeddings")
            and isinstance(m, nn.Embedding)
            and m.padding_idx is not None
        ]
        return most - max(after, default=-1) - 1

    @property
    def vocabulary(self) -> int:
        """The number of tokens that the model knows."""
        table = getattr(self.model, "get_input_embeddings", lambda: None)()
        return getattr(table, "num_embeddings", None) or 1 << 63

    @property
    def is_causal(self) -> bool:
        """Whether the model predicts the next token, by its name, so that windows suit it."""
        name = type(self.model).__name__
        return name.endswith(("ForCausalLM", "LMHeadModel")) or bool(
            getattr(self.model.config, "is_decoder", False)
        )

    def prefix(self, block: int) -> str:
        """What the names of a block's weights begin with."""
        return f"{self.blocks_name}.{block}."

    def outside(self) -> Iterator[tuple[str, nn.Module]]:
        """The modules that are in no block."""
        for name, module in self.model.named_modules():
            if id(module) not in self._inside:
                yield name, module

    def refuse(self, why: str) -> InvalidArgumentError:
        """An error that says why the model cannot be calibrated here, and what to do."""
        return InvalidArgumentError(
            f"{self.folder}: {type(self.model).__name__} cannot be calibrated block by block: "
            f"{why}; load it and use hypercomp_rs.torch.compress_model(model, calibration=...)"
        )

    def run(self, block: int, tokens: Sequence[int], state: State | None) -> Any:
        """What a block gives for a sample. `state` is what the block before it gave."""
        args, kwargs = self._arrive(block, tokens, state)
        self._open = block
        try:
            return self.blocks[block](*args, **kwargs)
        finally:
            self._open = -1

    def finish(self, tokens: Sequence[int], state: State | None) -> None:
        """Run what follows the last block, until :class:`Enough` is raised."""
        self._target, self._given, self._next = len(self.blocks), list(state or ()), 0
        with suppress(Enough):
            self._call(tokens)

    def advanced(self, block: int, tokens: Sequence[int], state: State | None) -> State:
        """The tensors that a block gives for a sample.

        Raises
        ------
        InvalidArgumentError
            They are not in the same form as for other blocks.
        """
        taken = Template.of(self.run(block, tokens, state))
        if taken is None:
            raise self.refuse(f"its block {block} gives neither a tensor nor a tuple of tensors")
        if self.template is None:
            self.template = taken[0]
        elif self.template != taken[0]:
            raise self.refuse(f"its block {block} gives {taken[0]}, others {self.template}")
        return [tensor.detach() for tensor in taken[1]]

    def probe(self, tokens: Sequence[int]) -> None:
        """Check that each block is called once, in order, with what the one before it gave.

        The first block must be loaded. The others get tensors without memory.
        """
        self._probing = True
        with torch.no_grad():
            try:
                state = self.advanced(0, tokens, None)
                self.state_nbytes = sum(t.numel() * t.element_size() for t in state)
                for block in range(1, len(self.blocks)):
                    self._arrive(block, tokens, [_empty_like(tensor) for tensor in state])
                self.called.clear()
                self.finish(tokens, [_empty_like(tensor) for tensor in state])
            except HypercompError:
                raise
            except Exception as error:
                raise self.refuse(f"{type(error).__name__}: {error}") from error
            finally:
                self._probing = False

    def _arrive(
        self, block: int, tokens: Sequence[int], state: State | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._target, self._given, self._next = block, list(state or ()), 0
        try:
            self._call(tokens)
        except _Arrived as arrived:
            if block and not _has(self._given[0], arrived.args, arrived.kwargs):
                raise self.refuse(
                    f"its block {block} is not called with what block {block - 1} gives"
                ) from None
            return arrived.args, arrived.kwargs
        raise self.refuse(f"its block {block} is not called")

    def _call(self, tokens: Sequence[int]) -> None:
        with self._rows:
            inputs = torch.tensor([list(tokens)], device=self.device)
            options = {"use_cache": False} if self._has_cache else {}
            self.model(input_ids=inputs, **options)

    @property
    def _has_cache(self) -> bool:
        return hasattr(self.model.config, "use_cache")

    def _stand_in(self, i: int) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._open == i:
                return self._forwards[i](*args, **kwargs)
            if self._next != i:
                raise self.refuse(f"it calls its block {i} where block {self._next} should be next")
            self._next += 1
            if self._target == i:
                raise _Arrived(args, kwargs)
            assert self.template is not None
            if self._target == i + 1:
                return self.template.filled(self._given)
            return self.template.filled([_empty_like(tensor) for tensor in self._given])

        return forward

    def _find_blocks(self) -> tuple[str, list[nn.Module]]:
        """The list of modules that has most of the weights, and is in no other list."""
        if getattr(self.model.config, "is_encoder_decoder", False):
            raise self.refuse("it is an encoder with a decoder")
        found: dict[str, nn.ModuleList] = {}
        for name, module in self.model.named_modules():
            if isinstance(module, nn.ModuleList) and not any(
                name.startswith(f"{other}.") for other in found
            ):
                found[name] = module
        sizes = {name: sum(p.numel() for p in m.parameters()) for name, m in found.items()}
        if not sizes or not max(sizes.values()):
            raise self.refuse("it has no list of blocks")
        name = max(sizes, key=lambda name: sizes[name])
        return name, list(found[name])

    def _load_others_when_called(self) -> None:
        """Modules in no block get their own weights when they are called for the first time."""
        for name, module in self.outside():
            if not any(
                p is not None for p in (*module._parameters.values(), *module._buffers.values())
            ):
                continue
            table = self.parts.name_of.get(f"{name}.weight")
            if isinstance(module, nn.Embedding) and table and self._rows.takes(table):
                self._rows.tables[id(module.weight)] = table
                continue
            if input_axis(module) is not None:
                module.forward = self._linear(name, module, module.forward)
            else:
                module.register_forward_pre_hook(self._loader(name))

    def _linear(
        self, name: str, module: nn.Module, forward: Callable[..., Any]
    ) -> Callable[..., Any]:
        """What stands for the forward pass of a linear layer in no block."""

        def called(*args: Any, **kwargs: Any) -> Any:
            if self._probing:
                self.called.append(name)
                x = first_argument(args, kwargs)
                outputs = module.weight.shape[1 - (input_axis(module) or 0)]
                return x.new_zeros(()).expand(*x.shape[:-1], outputs)
            if name == self.last:
                raise Enough
            self._load_own(name, module)
            return forward(*args, **kwargs)

        return called

    def _loader(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, args: Any) -> None:
            self._load_own(name, module)

        return hook

    def _load_own(self, name: str, module: nn.Module) -> None:
        if name in self._loaded:
            return
        self.parts.load(self.parts.own(name))
        for part, parameter in module._parameters.items():
            if parameter is not None and parameter.is_meta:
                raise self.refuse(f"the checkpoint lacks {name}.{part}")
        self._loaded.add(name)


def input_axis(module: nn.Module) -> int | None:
    """The axis of a linear layer's weight along which its inputs lie; None for other modules."""
    compressed = classes().get(type(module))
    return None if compressed is None else compressed.input_axis


class _Rows(TorchFunctionMode):
    """Large tables of tokens stay in the checkpoint: rows are read when they are looked up."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self.tables: dict[int, str] = {}

    def takes(self, name: str) -> bool:
        """Whether a table stays in the checkpoint."""
        return reads_rows(self._source) and self._source.entries[name].nbytes >= LARGE_TABLE

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is nn.functional.embedding and len(args) > 1 and id(args[1]) in self.tables:
            return self._looked_up(args[0], self.tables[id(args[1])])
        return function(*args, **(kwargs or {}))

    def _looked_up(self, indices: torch.Tensor, name: str) -> torch.Tensor:
        rows, places = torch.unique(indices.cpu(), return_inverse=True)
        found = read_rows(self._source, name, [int(row) for row in rows]).to(COMPUTED)
        return found[places].to(indices.device)


def folder_of(source: Source) -> Path:
    """The folder of a model of transformers.

    Raises
    ------
    InvalidArgumentError
        There is no ``config.json``.
    """
    config = source.files().get(CONFIG)
    if config is None:
        raise InvalidArgumentError(
            f"{source.path}: calibration takes the folder of a model of transformers, with "
            f"{CONFIG}; load this model and use hypercomp_rs.torch.compress_model(model, "
            "calibration=...)"
        )
    return config.parent


def _without_weights(folder: Path) -> nn.Module:
    """The model of a folder, with parameters on the meta device and computed buffers in memory."""
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        names = config.architectures or []
        made = getattr(transformers, names[0]) if names else None
    except Exception as error:
        raise InvalidArgumentError(
            f"{folder}: transformers does not know this model ({error}); load it and use "
            "hypercomp_rs.torch.compress_model(model, calibration=...)"
        ) from error
    if made is None:
        raise InvalidArgumentError(
            f"{folder / CONFIG} has no architectures, so the model's class is not known; load it "
            "and use hypercomp_rs.torch.compress_model(model, calibration=...)"
        )
    with no_init_weights(), _parameters_on_meta():
        model: nn.Module = made._from_config(config, dtype=COMPUTED)
    return model.eval()


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Parameters of new modules are on the meta device. Buffers are not, as they are computed."""
    register = nn.Module.register_parameter

    def register_on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(module, name, parameter)
        if parameter is not None and not parameter.is_meta:
            empty = nn.Parameter(parameter.to("meta"), requires_grad=False)
            module._parameters[name] = empty

    nn.Module.register_parameter = register_on_meta
    try:
        yield
    finally:
        nn.Module.register_parameter = register


def _has(tensor: torch.Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return any(value is tensor for value in (*args, *kwargs.values()))


def _empty_like(tensor: torch.Tensor) -> torch.Tensor:
    """Zeros of this shape that take no memory."""
    return torch.zeros((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)
