"""``HypercompQuantizer``: the class that transformers calls while it loads a model.

Before weights are loaded, the model exists on the meta device and is dense. For a dense checkpoint
a plan is made, the same as by ``hypercomp-rs compress``. Then transformers reads one weight after
the other. A weight that is in the plan is compressed, and its module is replaced by a compressed
one. So is the module of a weight that is stored as codes (``stored``). If a layer has no compressed
form, its codes are decoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers.core_model_loading import ConversionOps, WeightTransform
from transformers.quantizers import HfQuantizer
from transformers.quantizers.auto import register_quantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from ... import _arrays
from ...checkpoint.entries import named
from ...checkpoint.load_guard import METHOD, WEIGHTS, is_file_of_weights
from ...checkpoint.plan import make_plan
from ...checkpoint.slices import SlicedExperts
from ...checkpoint.source import Source
from ...compress import Trellis
from ...errors import HypercompError, InvalidArgumentError, StaysDenseWarning, StaysInMemoryWarning
from ...tensor import CompressedTensor
from .._codes import described
from .._model_source import ModelSource
from ..compressed_module import CompressedModule, buffers_of
from ..conversion import compress_model, decompress_model
from ..owners import Owner, classes, install
from .config import HypercompConfig
from .expert_sizes import asked_of, element_sizes
from .files import FoundFiles
from .names import Place, Renaming, listed, owner_of, tied_to, untie
from .stored import Codes, LazyWeight


@register_quantizer(METHOD)
class HypercompQuantizer(HfQuantizer):
    """What transformers calls while it loads a model."""

    quantization_config: HypercompConfig
    pre_quantized: bool

    def __init__(self, quantization_config: HypercompConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        # The parameters of each tensor, by the checkpoint's names and by the model's.
        self._asked: Mapping[str, Trellis] = {}
        self._plan: dict[str, Trellis] = {}
        # The model's weights that are stored as codes.
        self._codes: set[str] = set()
        # Bytes of a weight in the model, for device maps.
        self._element_sizes: dict[str, float] = {}
        # The model's weights that are in the checkpoint.
        self._present: set[str | None] = set()
        # For each weight the names of those that will be tied to it.
        self._ties: dict[str, list[str]] = {}
        # Parameters that are removed from modules until these are tied.
        self._absent: dict[str, tuple[Owner, nn.Parameter]] = {}
        # Whether codes may be offloaded to the disk.
        self._offloads = False
        # The first error of ours, which transformers would report as one of its own.
        self._error: BaseException | None = None

    @property
    def quantized_element_size(self) -> float:
        """Approximate bytes of a weight that will be compressed."""
        bits = self.quantization_config.bits or self.quantization_config.target_bits or 4
        return min(bits, 8.0) / 8

    def param_element_size(self, model: nn.Module, param_name: str, param: torch.Tensor) -> float:
        """Bytes per weight of this parameter when it is loaded."""
        if param_name in self._element_sizes:
            return self._element_sizes[param_name]
        return float(super().param_element_size(model, param_name, param))

    def update_attn_implementation(self, config: Any) -> Any:
        """Remove the entry of ``load_guard``. transformers calls this before it looks for files."""
        said = getattr(config, WEIGHTS, None)
        if self.pre_quantized and said is not None and not is_file_of_weights(said):
            delattr(config, WEIGHTS)
            if self.quantization_config.transformers_weights is not None:
                setattr(config, WEIGHTS, self.quantization_config.transformers_weights)
        return config

    def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The model's dtype. If transformers took it from the files, it may be that of codes."""
        if isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
            return torch.get_default_dtype()
        return dtype

    def _process_model_before_weight_loading(
        self, model: nn.Module, checkpoint_files: list[str] | None = None, **kwargs: Any
    ) -> nn.Module:
        files = [Path(file) for file in checkpoint_files or ()]
        if any(file.suffix != ".safetensors" for file in files):
            files = []
        if self.pre_quantized:
            self._measure(model, files)
            return model
        config = self.quantization_config
        if config.calibration is not None:
            # It is compressed when all of its weights are there.
            return model
        source: Source
        if files:
            source = SlicedExperts.of(FoundFiles(files), config.request().rules)
        elif config.target_bits is not None:
            raise InvalidArgumentError(
                "target_bits: for folders of safetensors files; bits are for any checkpoint"
            )
        else:
            source = ModelSource(dict(model.named_parameters()))
            source = SlicedExperts.of(source, config.request().rules)
        self._asked = make_plan(source, config.request()).compressed
        self._make_plan(model, list(source.entries), None)
        size = self.quantized_element_size
        self._element_sizes = dict.fromkeys(asked_of(model, self._asked, Renaming(model)), size)
        return model

    def _process_model_after_weight_loading(self, model: nn.Module, **kwargs: Any) -> nn.Module:
        config = self.quantization_config
        if self.pre_quantized or config.calibration is None:
            return model
        dense = config.modules_to_not_convert
        kept = [
            f"{name}=keep"
            for name, module in model.named_modules()
            if type(module) in classes() and not should_convert_module(name, dense)
        ]
        compress_model(
            model,
            target_bits=config.target_bits,
            bits=config.bits,
            effort=config.effort,
            incoherence=config.incoherence,
            seed=config.seed,
            layout=config.layout or "chains",
            embeddings=config.embeddings,
            rules=[*kept, *config.rules],
            calibration=config.calibration,
            progress=False,
        )
        return model

    def _measure(self, model: nn.Module, files: list[Path]) -> None:
        """Note the bytes of each weight, for device maps. Reads only descriptions."""
        if not files:
            return
        renaming = Renaming(model)
        found = FoundFiles(files)
        for name, description in found.descriptions().items():
            said = described(description)
            place = renaming(name)
            if place.name is not None and not place.converted and self._compressible(model, place):
                weights = max(1, torch.Size(said.shape).numel())
                self._element_sizes[place.name] = said.nbytes / weights
        self._element_sizes |= element_sizes(model, found.descriptions(), renaming)
        found.close()

    def _make_plan(
        self, model: nn.Module, names: Sequence[str], mapping: Sequence[WeightTransform] | None
    ) -> list[str]:
        """Make the plan by the model's names. Returns planned tensors that cannot be compressed."""
        renaming = Renaming(model, mapping)
        places = {name: renaming(name) for name in names}
        self._present = {place.name for place in places.values()}
        self._plan = {}
        dense = []
        for name, trellis in self._asked.items():
            place = places.get(name) or renaming(name)
            if place.name is None:
                continue  # It belongs to another part of the model; transformers reports it.
            if not self._is_asked(place):
                continue
            if self._compressible(model, place):
                self._plan[place.name] = trellis
            else:
                dense.append(name)
        return dense

    def _is_asked(self, place: Place) -> bool:
        """Whether the module is not among those that are to stay dense."""
        assert place.name is not None
        module = place.name.rpartition(".")[0]
        return bool(should_convert_module(module, self.quantization_config.modules_to_not_convert))

    def _compressible(self, model: nn.Module, place: Place) -> bool:
        """Whether a weight, and every weight that is tied to it, can be compressed."""
        assert place.name is not None
        if place.converted:
            return False
        others = tied_to(model, place.name)
        for one in (place.name, *(other for other in others if other not in self._present)):
            owner = owner_of(model, one)
            if owner is None or owner.refusal() is not None:
                return False
            if not self.pre_quantized and not self._is_asked(Place(one, False)):
                return False
        if others:
            self._ties[place.name] = others
        return True

    def param_needs_quantization(self, model: nn.Module, param_name: str, **kwargs: Any) -> bool:
        """Whether a weight is compressed when it is read, or is stored as codes."""
        return param_name in self._plan or param_name in self._codes

    def get_quantize_ops(self) -> ConversionOps:
        """The operation that compresses a weight."""
        return _Compress(self)

    @contextmanager
    def loads(
        self,
        model: nn.Module,
        stored: Iterable[LazyWeight],
        names: Iterable[str],
        load_config: Any,
    ) -> Iterator[None]:
        """Prepare for loading a checkpoint; at the end of the block, tie weights and raise errors.

        Parameters
        ----------
        model
            The model, dense and on the meta device.
        stored
            The compressed tensors of the checkpoint.
        names
            The names of all tensors of the checkpoint.
        load_config
            The ``LoadStateDictConfig`` of transformers, with renaming and devices.
        """
        before = self.pre_quantized
        mapping = load_config.weight_mapping
        on_disk = "disk" in (load_config.device_map or {}).values()
        self._offloads = on_disk and bool(load_config.offload_buffers)
        if on_disk and not load_config.offload_buffers:
            warnings.warn(
                "device_map has layers on the disk, and their codes are buffers, which stay in "
                "memory: offload_buffers=True puts them on the disk, too",
                StaysInMemoryWarning,
                stacklevel=2,
            )
        if self.pre_quantized:
            self._place(model, stored, names, mapping)
            # transformers uses `get_quantize_ops` only if this is False.
            self.pre_quantized = False
        else:
            self._warn_of_dense_weights(model, self._make_plan(model, list(names), mapping))
        try:
            yield
            if self._error is not None:
                raise self._error
        finally:
            self.pre_quantized = before
            self._error = None
        self._tie(model)

    def _place(
        self,
        model: nn.Module,
        stored: Iterable[LazyWeight],
        names: Iterable[str],
        mapping: Sequence[WeightTransform] | None,
    ) -> None:
        """Decide which compressed weights become compressed modules. The others are decoded."""
        renaming = Renaming(model, mapping)
        self._present = {renaming(name).name for name in names}
        self._codes = set()
        for weight in stored:
            place = renaming(weight.name)
            if place.name is None or not self._compressible(model, place):
                continue
            owner = cast(Owner, owner_of(model, place.name))
            parameter = owner.module._parameters[owner.parameter_name]
            # With another shape, transformers refuses the weight or makes a new head.
            weight.misfit = parameter is not None and parameter.shape != weight.shape
            weight.as_codes = not weight.misfit
            if weight.as_codes:
                self._codes.add(place.name)

    def _warn_of_dense_weights(self, model: nn.Module, names: list[str]) -> None:
        if names:
            warnings.warn(
                f"{type(model).__name__}: weights stay dense, as the layers that have them, or "
                f"what transformers merges them to, have no compressed form: {listed(names)}",
                StaysDenseWarning,
                stacklevel=2,
            )

    def made_codes(
        self, model: nn.Module, name: str, codes: tuple[str, list[torch.Tensor]], dtype: torch.dtype
    ) -> list[str]:
        """Make a module compressed. Returns the names of the weights that are loaded with it."""
        owner = cast(Owner, owner_of(model, name))
        empty = cast(nn.Parameter, owner.module._parameters[owner.parameter_name])
        if empty.dtype != dtype:
            # Some layers have a dtype of their own, which is that of the weight that was read.
            other = torch.empty_like(empty, dtype=dtype)
            owner.module._parameters[owner.parameter_name] = nn.Parameter(other)
        install(*codes, [owner])
        module = cast(CompressedModule, owner.module)
        for buffer in module.weight_buffers():
            buffer._is_hf_initialized = True
        return [name, *self._remove_tied_parameters(model, name)]

    def to_be_offloaded(self, model: nn.Module, name: str) -> dict[str, torch.Tensor]:
        """The codes of a weight by their names in the model, if codes are offloaded to the disk."""
        module = _compressed_module(model, name)
        if module is None or not self._offloads:
            return {}
        prefix = name.removesuffix("weight")
        return {f"{prefix}{key}": buffer for key, buffer in module.named_weight_buffers()}

    def _remove_tied_parameters(self, model: nn.Module, name: str) -> list[str]:
        """Remove parameters that will be tied to this weight, so that none counts as missing."""
        others = self._ties.get(name, [])
        untie(model, [name, *others])
        absent = [other for other in others if other not in self._present]
        for other in absent:
            owner = cast(Owner, owner_of(model, other))
            parameter = owner.module._parameters.pop(owner.parameter_name)
            self._absent[other] = owner, cast(nn.Parameter, parameter)
        return absent

    def _tie(self, model: nn.Module) -> None:
        for name, others in self._ties.items():
            first = _compressed_module(model, name)
            if first is None:
                continue
            for other in others:
                if other in self._absent:
                    owner, parameter = self._absent.pop(other)
                    owner.module._parameters[owner.parameter_name] = parameter
                    classes()[type(owner.module)].tie(owner.module, first)
                elif (second := _compressed_module(model, other)) is not None:
                    second.tie_if_equal(first)

    def is_asked(self, name: str) -> bool:
        """Whether a tensor of a dense checkpoint is to be compressed."""
        return name in self._asked

    def ask_by(self, names: Mapping[str, Sequence[str]]) -> None:
        """Have tensors be asked for by other names, each by those that it is taken apart into."""
        self._asked = {
            new: trellis
            for name, trellis in self._asked.items()
            for new in names.get(name, (name,))
        }

    def trellis_of(self, name: str, shape: tuple[int, ...], model: nn.Module) -> Trellis | None:
        """The parameters for a weight that was read; None if its shape does not fit the model."""
        owner = cast(Owner, owner_of(model, name))
        parameter = owner.module._parameters[owner.parameter_name]
        if parameter is not None and parameter.shape == shape:
            return self._plan[name]
        # With another shape, transformers refuses the weight or makes a new head.
        del self._plan[name]
        return None

    def failed(self, error: BaseException) -> None:
        """Store an error, which is raised when loading ends."""
        self._error = self._error or error

    def is_serializable(self) -> bool:
        """Whether the model can be saved. Always True."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Whether adapters can be trained. Always True."""
        return True

    @property
    def is_compileable(self) -> bool:
        """Whether ``torch.compile`` works. Always True."""
        return True

    def _dequantize(self, model: nn.Module, dtype: torch.dtype | str | None = None) -> nn.Module:
        # The configuration of a model that was saved has the dtype by its name.
        if isinstance(dtype, str):
            dtype = cast(torch.dtype, getattr(torch, dtype))
        return decompress_model(model, dtype)


def _compressed_module(model: nn.Module, name: str) -> CompressedModule | None:
    module = model.get_submodule(name.rpartition(".")[0])
    return module if isinstance(module, CompressedModule) else None


class _Compress(ConversionOps):
    """Compresses a weight that was just read, and replaces its module by a compressed one."""

    def __init__(self, quantizer: HypercompQuantizer) -> None:
        self._quantizer = quantizer

    def convert(
        self,
        input_dict: Mapping[str, Any],
        model: nn.Module | None = None,
        missing_keys: set[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, torch.Tensor]:
        assert model is not None
        dense = {}
        for name, read in input_dict.items():
            weight = read[0] if isinstance(read, list) else read
            try:
                made = self._codes(name, weight, model)
                if made is None:
                    dense[name] = weight
                    continue
                there = self._quantizer.made_codes(model, name, made, weight.dtype)
            except HypercompError as error:
                wrong = named(error, name)
                self._quantizer.failed(wrong)
                raise wrong from None
            if missing_keys is not None:
                missing_keys.difference_update(there)
            dense |= self._quantizer.to_be_offloaded(model, name)
        return dense

    def _codes(
        self, name: str, weight: torch.Tensor | Codes, model: nn.Module
    ) -> tuple[str, list[torch.Tensor]] | None:
        """The codes of a weight; None if it stays dense."""
        if isinstance(weight, Codes):
            return weight.description, weight.buffers
        trellis = self._quantizer.trellis_of(name, tuple(weight.shape), model)
        if trellis is None:
            return None
        code = trellis.compress(_arrays.flatten(weight), None)
        return buffers_of(CompressedTensor._of(code, "torch"), weight.device)
