"""Experts of a mixture: fused parameters taken apart into layers, which have compressed forms.

transformers keeps the weights of all experts of a layer as parameters of three axes,
``gate_up_proj`` and ``down_proj``. Here each expert becomes a module with linear layers of its own,
which are compressed, calibrated, saved and moved as all others are. Layers are named as checkpoints
name them, where these have one matrix for each expert: ``experts.7.gate_proj``, ``experts.7.w1``.

What classes of experts have in common is what transformers' interface for implementations asks of
them (``transformers.integrations.moe``): ``has_gate``, ``is_transposed``, ``has_bias``,
``_apply_gate``, and a call with tokens, the indices of their experts, and weights. An
implementation of it is chosen for a whole model. Some modules of a model may be compressed and
others not, so a module that is taken apart has a ``forward`` of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import nn

from ..errors import InvalidArgumentError
from . import _grouped
from .compressed_module import CompressedModule, _rebind_forward
from .transposed import TransposedLinear

# Names of the layers that each fused parameter is taken apart into, in the order of their outputs.
Layers = Mapping[str, tuple[str, ...]]
# The class of experts that transformers' interface leaves out: its experts get their tokens sorted.
_SORTED = ("Llama4TextExperts",)


class Kind(NamedTuple):
    """How a class of experts keeps its weights and is called.

    Attributes
    ----------
    parameters
        Names of the fused parameters: into the experts, and out of them.
    transposed
        Whether a parameter is (experts, inputs, outputs) instead of (experts, outputs, inputs).
    has_bias
        Whether there are biases beside them, of two axes.
    is_sorted
        Whether it is called with the vectors of one expert after the other.
    """

    parameters: tuple[str, str]
    transposed: bool
    has_bias: bool
    is_sorted: bool

    @classmethod
    def of(cls, module: nn.Module) -> Kind | None:
        """That of a module; None where it is no module of fused experts that is known here."""
        if isinstance(module, CompressedExperts):
            return None
        said = module.__dict__
        is_sorted = type(module).__name__ in _SORTED
        if not is_sorted and not {"has_gate", "is_transposed", "has_bias"} <= said.keys():
            return None
        into = "gate_up_proj" if is_sorted or said["has_gate"] else "up_proj"
        bias = not is_sorted and said["has_bias"]
        kind = cls((into, "down_proj"), is_sorted or said["is_transposed"], bias, is_sorted)
        fused = [module._parameters.get(name) for name in kind.parameters]
        if any(p is None or p.dim() != 3 for p in fused):
            return None
        up, down = fused
        return kind if len(up) == len(down) and not said.get("_is_expert_parallel") else None


class Expert(nn.Module):
    """The layers of one expert, which the module of all of them calls."""


class CompressedExperts(nn.Module):
    """Experts of a mixture, each with layers of its own. Made by :func:`take_apart`.

    Also an instance of the class that it was made of. Only the layers of experts that a batch is
    routed to are called. A fused parameter is still there as an attribute: a copy, decoded.
    """

    dense_class: ClassVar[type[nn.Module]]
    """What it is with fused parameters."""

    kind: Kind
    layers: Layers
    """Names of the layers that each fused parameter was taken apart into."""
    sliced: bool
    """Whether checkpoints have fused parameters, of which the layers' weights are slices."""
    num_experts: int

    def experts(self) -> list[nn.Module]:
        """One module for each, with the layers."""
        modules = self._modules
        return [cast(nn.Module, modules[str(i)]) for i in range(self.num_experts)]

    def all_layers(self) -> Iterator[nn.Module]:
        """The layers of all experts."""
        for expert in self.experts():
            yield from expert.children()

    @property
    def has_codes(self) -> bool:
        """Whether any layer is compressed."""
        # Under whatever adapters have put around it.
        return any(isinstance(module, CompressedModule) for module in self.modules())

    def forward(self, hidden_states: torch.Tensor, *routing: torch.Tensor, **named: Any) -> Any:
        """As of the class that it was made of."""
        if self.kind.is_sorted:
            return _of_sorted(self, hidden_states)
        return _of_routed(self, hidden_states, *routing, **named)

    def fused(self, name: str) -> torch.Tensor:
        """A fused parameter from the weights of the layers: a copy, of three axes."""
        axis = 1 if self.kind.transposed else 0
        with torch.no_grad():
            return torch.stack(
                [
                    torch.cat([_dense(expert, layer) for layer in self.layers[name]], axis)
                    for expert in self.experts()
                ]
            )

    def __getattr__(self, name: str) -> Any:
        """A fused parameter, or what any module has."""
        if name in self.__dict__.get("layers", ()):
            decoded = self.fused(name)
            # For transformers, which initialises what does not say so.
            decoded._is_hf_initialized = True
            return decoded
        return super().__getattr__(name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles: the class is made again, as no module has it by name."""
        return _bare, (self.dense_class,), self.__dict__

    def __repr__(self) -> str:
        """What the experts are, and the layers of the first."""
        first = repr(self.experts()[0]).replace("\n", "\n  ") if self.num_experts else "Expert()"
        return f"{type(self).__name__}(\n  (0-{self.num_experts - 1}): {first}\n)"


_classes: dict[type[nn.Module], type[CompressedExperts]] = {}


def _class_of(dense: type[nn.Module]) -> type[CompressedExperts]:
    """The class of experts taken apart, for one of fused experts."""
    if dense not in _classes:
        name = f"Compressed{dense.__name__}"
        said = {"dense_class": dense, "__module__": __name__, "__doc__": CompressedExperts.__doc__}
        _classes[dense] = cast(
            type[CompressedExperts], type(name, (CompressedExperts, dense), said)
        )
    return _classes[dense]


def _bare(dense: type[nn.Module]) -> CompressedExperts:
    cls = _class_of(dense)
    return cls.__new__(cls)


def _dense(expert: nn.Module, name: str) -> torch.Tensor:
    layer = expert._modules[name]
    if not isinstance(layer, (nn.Linear, TransposedLinear)):
        raise InvalidArgumentError(
            f"{type(layer).__name__} in the place of an expert's layer {name!r}: experts can be "
            "put together again without adapters; merge and unload them first"
        )
    weight: Any = layer.weight
    return cast(torch.Tensor, weight.decompress() if hasattr(weight, "decompress") else weight)


def fused_experts(model: nn.Module) -> Iterator[tuple[str, nn.Module, Kind]]:
    """The modules of fused experts in a model that can be taken apart, by name."""
    for name, module in list(model.named_modules()):
        kind = Kind.of(module)
        if kind is not None:
            yield name, module, kind


def take_apart(module: nn.Module, layers: Layers | None = None) -> dict[str, nn.Parameter]:
    """Give each expert layers of its own, in place. Returns the fused parameters.

    Parameters
    ----------
    module
        Fused experts: those of :func:`fused_experts`.
    layers
        Names of the layers of each fused parameter, which have equal parts of its outputs. By
        default one of the parameter's own name.

    Notes
    -----
    The layers' weights are views of the fused parameters: no weight is copied.
    """
    kind = Kind.of(module)
    if kind is None:
        raise InvalidArgumentError(f"{type(module).__name__}: no fused experts that are known")
    sliced = layers is None
    if layers is None:
        layers = {name: (name,) for name in kind.parameters}
    fused = {name: cast(nn.Parameter, module._parameters.pop(name)) for name in kind.parameters}
    cls = _class_of(type(module))
    _rebind_forward(module, cls)
    module.__class__ = cls
    apart = cast(CompressedExperts, module)
    apart.kind, apart.layers, apart.sliced = kind, dict(layers), sliced
    apart.num_experts = len(fused[kind.parameters[0]])
    for i in range(apart.num_experts):
        expert = Expert()
        for name, parameter in fused.items():
            parts = parameter.detach()[i].chunk(len(layers[name]), 1 if kind.transposed else 0)
            for layer, part in zip(layers[name], parts, strict=True):
                weight = nn.Parameter(part, requires_grad=parameter.requires_grad)
                expert.add_module(layer, _layer(weight, kind.transposed))
        expert.train(module.training)
        apart.add_module(str(i), expert)
    return fused


def _layer(weight: nn.Parameter, transposed: bool) -> nn.Module:
    if transposed:
        return TransposedLinear(weight)
    # Without the initialisation, which would take longer than all else here.
    layer = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(layer)
    layer.out_features, layer.in_features = weight.shape
    layer.register_parameter("weight", weight)
    layer.register_parameter("bias", None)
    return layer


def put_together(
    module: CompressedExperts, fused: Mapping[str, nn.Parameter] | None = None
) -> None:
    """Make experts that were taken apart the module that they were, in place.

    `fused` are its parameters, if they are still there: the layers' weights are views of them.
    """
    if fused is None:
        fused = {name: _parameter(module, name) for name in module.kind.parameters}
    number = module.num_experts
    _rebind_forward(module, module.dense_class)
    dense = cast(nn.Module, module)
    dense.__class__ = module.dense_class
    for i in range(number):
        del dense._modules[str(i)]
    for name in ("kind", "layers", "sliced"):
        del dense.__dict__[name]
    # In their places before biases.
    dense._parameters = {**fused, **dense._parameters}


def _parameter(module: CompressedExperts, name: str) -> nn.Parameter:
    """A fused parameter from dense layers, in the memory that it had if it is still there."""
    weights = [
        cast(torch.Tensor, expert._modules[layer].weight)
        for expert in module.experts()
        for layer in module.layers[name]
    ]
    trains = any(weight.requires_grad for weight in weights)
    whole = _in_its_place(module, name, weights)
    made = nn.Parameter(module.fused(name) if whole is None else whole, requires_grad=trains)
    if all(getattr(weight, "_is_hf_initialized", False) for weight in weights):
        made._is_hf_initialized = True
    return made


def _in_its_place(
    module: CompressedExperts, name: str, weights: list[torch.Tensor]
) -> torch.Tensor | None:
    """The fused tensor of which these are views, if they still are."""
    first = weights[0].detach()
    parts = len(module.layers[name])
    rows, columns = first.shape
    shape = (rows, columns * parts) if module.kind.transposed else (rows * parts, columns)
    if first.is_meta:
        return first.new_empty(module.num_experts, *shape)
    storage = first.untyped_storage()
    size = module.num_experts * parts * first.numel() + first.storage_offset()
    if storage.nbytes() < size * first.element_size():
        return None
    strides = (shape[0] * shape[1], shape[1], 1)
    whole = first.as_strided((module.num_experts, *shape), strides)
    axis = 1 if module.kind.transposed else 0
    views = [part for matrix in whole for part in matrix.chunk(parts, axis)]
    for weight, view in zip(weights, views, strict=True):
        if weight.data_ptr() != view.data_ptr() or weight.stride() != view.stride():
            return None
        if weight.shape != view.shape or weight.dtype != view.dtype:
            return None
    return whole


def put_dense_together(modules: Iterable[nn.Module]) -> None:
    """Put experts together of which no layer is compressed, or has an adapter around it."""
    for module in list(modules):
        if isinstance(module, CompressedExperts) and all(
            type(layer) in (nn.Linear, TransposedLinear) for layer in module.all_layers()
        ):
            put_together(module)


def _of_routed(
    module: CompressedExperts,
    hidden_states: torch.Tensor,
    top_k_index: torch.Tensor | None = None,
    top_k_weights: torch.Tensor | None = None,
    *,
    router_indices: torch.Tensor | None = None,
    routing_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Vectors to their experts, and weighted sums of what these answer.

    As ``grouped_mm_experts_forward`` of transformers. GPT-OSS has other names for the arguments.
    """
    index = cast(torch.Tensor, router_indices if top_k_index is None else top_k_index)
    weights = cast(torch.Tensor, routing_weights if top_k_weights is None else top_k_weights)
    tokens, chosen = index.shape
    number, order = torch.sort(index.reshape(-1), stable=True)
    counts = _grouped.counts_of(number, module.num_experts)
    y = _answers(module, hidden_states[order // chosen], counts, number)
    y = y * weights.reshape(-1)[order].unsqueeze(-1)
    back = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=order.device))
    y = y[back].view(tokens, chosen, y.shape[-1]).sum(1)
    return y.to(hidden_states.dtype)


def _of_sorted(module: CompressedExperts, hidden_states: torch.Tensor) -> torch.Tensor:
    """As many vectors for each expert as there are tokens, sorted by expert.

    Those of tokens that go elsewhere are zeros, and so are the answers to them.
    """
    x = hidden_states.reshape(-1, hidden_states.shape[-1])
    if torch.compiler.is_compiling():
        tokens = len(x) // module.num_experts
        every = torch.full((module.num_experts,), tokens, device=x.device)
        return _answers(module, x, every)
    chosen = (x != 0).any(-1)
    counts = chosen.view(module.num_experts, -1).sum(1)
    where = chosen.nonzero().squeeze(-1)
    y = _answers(module, x[where], counts)
    return torch.zeros(len(x), y.shape[-1], dtype=y.dtype, device=y.device).index_add(0, where, y)


def _answers(
    module: CompressedExperts,
    x: torch.Tensor,
    counts: torch.Tensor,
    number: torch.Tensor | None = None,
) -> torch.Tensor:
    """What experts answer to vectors that are sorted by the `number` of their expert."""
    dense: Any = module
    into, out = module.kind.parameters
    groups = _grouped.counted(module.all_layers(), counts)
    experts, transposed = module.experts(), module.kind.transposed
    biases = module.kind.has_bias and number is not None
    if biases:
        # A vector of another machine's expert has an index beyond the last, and no weight.
        number = cast(torch.Tensor, number).clamp(max=module.num_experts - 1)
    y = _grouped.multiply(experts, module.layers[into], x, groups, transposed)
    if biases:
        y = y + dense._parameters[f"{into}_bias"][number].to(y.dtype)
    if module.kind.is_sorted:
        first, second = y.chunk(2, -1)
        y = second * dense.act_fn(first)
    else:
        y = dense._apply_gate(y) if dense.has_gate else dense.act_fn(y)
    y = _grouped.multiply(experts, module.layers[out], y, groups, transposed)
    if biases:
        y = y + dense._parameters[f"{out}_bias"][number].to(y.dtype)
    if not module.kind.is_sorted and dense.has_post_expert_norm:
        y = dense.post_expert_norm(y)
    return y
