"""The quantiser of transformers: ``from_pretrained`` compresses, and loads what is compressed.

Importing this module registers it, after which a folder that says ``"quant_method": "hypercomp"``
loads like any other:

>>> import hypercomp_rs.torch.transformers

It hooks into two places of the loading of a model. Before weights are loaded the model is there on
the meta device. Where the folder is dense, it is planned which weights are compressed and how, with
the very plan of ``hypercomp-rs compress``; each is compressed as it is read. Where the folder is
compressed, layers become compressed ones of the sizes that the descriptions say, and transformers
loads their buffers as it loads any. What is compressed of a layer that has no compressed form is
decoded on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn

from .. import _arrays
from ..checkpoint.entries import named
from ..checkpoint.plan import Request, make_plan
from ..checkpoint.rules import Rule, rules_of
from ..checkpoint.sensitivity import Sensitivity
from ..checkpoint.source import Source, open_source
from ..compress import Effort, Trellis
from ..errors import FormatError, HypercompError, InvalidArgumentError, MissingExtraError
from ..tensor import CompressedTensor
from ._codes import DESCRIPTION, described
from ._model_source import ModelSource

try:
    from transformers import PreTrainedModel
    from transformers.core_model_loading import ConversionOps, WeightConverter
    from transformers.quantizers import HfQuantizer
    from transformers.quantizers.auto import register_quantization_config, register_quantizer
    from transformers.quantizers.quantizers_utils import should_convert_module
    from transformers.utils.quantization_config import QuantizationConfigMixin

    from ._checkpoint_names import (
        Renaming,
        meta_buffers,
        owner_of,
        stored_tensors,
        tied_to,
        untie,
    )
    from .compressed_module import CompressedModule, buffers_of
    from .conversion import decompress_model
    from .owners import Owner, classes, install
except ImportError as error:
    raise MissingExtraError(
        f"transformers is not there, or of a version that this package does not know ({error}): "
        "pip install 'hypercomp-rs[transformers]'"
    ) from error

METHOD = "hypercomp"
FORMAT = 1


@register_quantization_config(METHOD)
class HypercompConfig(QuantizationConfigMixin):
    """What ``from_pretrained(path, quantization_config=...)`` is asked for.

    Parameters
    ----------
    bits, target_bits, target_sqnr_db
        Bits a weight of each compressed tensor (the default, 4); or of the whole checkpoint,
        everything counted, spread over its tensors by equal slope; or decibels of each.
    effort, sparsity, incoherence, seed
        As for :func:`hypercomp_rs.compress_tensor`.
    embeddings
        "keep" leaves tables of tokens as they are.
    rules
        For tensors whose names in the checkpoint match a pattern, see
        :class:`hypercomp_rs.checkpoint.Rule`.
    modules_to_not_convert
        Names of modules, or their endings, or regular expressions for them, which stay dense.
    format
        Of the stored form; a folder of another one is refused.

    Raises
    ------
    InvalidArgumentError
        An argument outside what is accepted.
    FormatError
        A folder made by a later version of this package.

    Examples
    --------
    >>> from hypercomp_rs.torch.transformers import HypercompConfig
    >>> HypercompConfig(bits=5, rules=["lm_head=keep"]).to_dict()
    {'quant_method': 'hypercomp', 'format': 1, 'bits': 5.0, 'effort': 'balanced', \
'incoherence': 'hadamard', 'seed': 0, 'embeddings': 'compress', 'rules': ['lm_head=keep']}
    """

    def __init__(
        self,
        bits: float | None = None,
        *,
        target_bits: float | None = None,
        target_sqnr_db: float | None = None,
        effort: Effort = "balanced",
        sparsity: Literal["keep"] | None = None,
        incoherence: Literal["hadamard", "none"] = "hadamard",
        seed: int = 0,
        embeddings: Literal["compress", "keep"] = "compress",
        rules: Iterable[str | Rule] = (),
        modules_to_not_convert: Iterable[str] | None = None,
        quant_method: str = METHOD,
        format: int = FORMAT,
    ) -> None:
        if quant_method != METHOD:
            raise InvalidArgumentError(f"quant_method={quant_method!r}: {METHOD!r} is accepted")
        if format != FORMAT:
            raise FormatError(
                f"the model is compressed in format {format}; this version of hypercomp-rs reads "
                f"format {FORMAT}: a later one may read it (pip install -U hypercomp-rs)"
            )
        if bits is None and target_bits is None and target_sqnr_db is None:
            bits = 4
        trellis = Trellis(
            bits=bits,
            target_sqnr_db=target_sqnr_db,
            effort=effort,
            sparsity=sparsity,
            incoherence=incoherence,
            seed=seed,
        )
        self.quant_method = METHOD
        self.format = format
        self.bits = trellis.bits
        self.target_bits = target_bits
        self.target_sqnr_db = trellis.target_sqnr_db
        self.effort = effort
        self.sparsity = sparsity
        self.incoherence = incoherence
        self.seed = trellis.seed
        self.embeddings = embeddings
        self.rules = [str(rule) for rule in rules_of(rules)]
        self.modules_to_not_convert = (
            None if modules_to_not_convert is None else list(modules_to_not_convert)
        )
        self.request()

    def request(self) -> Request:
        """The same as the commands of this package take it."""
        trellis = Trellis(
            bits=self.bits,
            target_sqnr_db=self.target_sqnr_db,
            effort=self.effort,
            sparsity=self.sparsity,
            incoherence=self.incoherence,
            seed=self.seed,
        )
        return Request(
            trellis, self.target_bits, self.embeddings, rules_of(self.rules), Sensitivity(None)
        )

    def to_dict(self) -> dict[str, Any]:
        """What stands in ``config.json``."""
        return {name: value for name, value in vars(self).items() if value is not None}


@register_quantizer(METHOD)
class HypercompQuantizer(HfQuantizer):
    """What transformers calls while it loads a model."""

    quantization_config: HypercompConfig

    def __init__(self, quantization_config: HypercompConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        # By the model's names: what is to be compressed how.
        self.plan: dict[str, Trellis] = {}
        # Which of the model's weights the checkpoint has.
        self.present: set[str | None] = set()
        # The weights that tied ones will get when they are there.
        self.ties: dict[str, list[str]] = {}
        # Of modules that have no weight until then, what stood for it.
        self.absent: dict[str, tuple[Owner, nn.Parameter]] = {}
        # Compressed tensors of layers that have no compressed form, with their descriptions.
        self.decoded: dict[str, str] = {}

    @property
    def quantized_element_size(self) -> float:
        """Bytes of a compressed weight, about."""
        bits = self.quantization_config.bits or self.quantization_config.target_bits or 4
        return min(bits, 8.0) / 8

    def _process_model_before_weight_loading(
        self, model: nn.Module, checkpoint_files: list[str] | None = None, **kwargs: Any
    ) -> nn.Module:
        files = [str(file) for file in checkpoint_files or ()]
        if any(not file.endswith(".safetensors") for file in files):
            files = []
        if self.pre_quantized:
            self._place(model, files)
        else:
            self._make_plan(model, files)
        return model

    def _make_plan(self, model: nn.Module, files: list[str]) -> None:
        """Plan what is compressed how, by the names of the checkpoint."""
        config = self.quantization_config
        source = _source(files)
        if source is None:
            if config.target_bits is not None:
                raise InvalidArgumentError(
                    "target_bits: for folders of safetensors files; bits are for any checkpoint"
                )
            source = ModelSource(dict(model.named_parameters()))
        renaming = Renaming(model)
        renamed = {name: renaming(name) for name in source.entries}
        self.present = set(renamed.values())
        for name, trellis in make_plan(source, config.request()).compressed.items():
            target = renamed[name]
            if target is not None and self._to_be_compressed(model, target):
                self.plan[target] = trellis

    def _to_be_compressed(self, model: nn.Module, name: str) -> bool:
        """Whether a weight can be, and those that are tied to it; these are taken note of."""
        convertible = self.quantization_config.modules_to_not_convert
        others = tied_to(model, name)
        for one in (name, *(other for other in others if other not in self.present)):
            owner = owner_of(model, one)
            if owner is None or owner.refusal() is not None:
                return False
            if not self.pre_quantized and not should_convert_module(owner.module_name, convertible):
                return False
        if others:
            self.ties[name] = others
        return True

    def param_needs_quantization(self, model: nn.Module, param_name: str, **kwargs: Any) -> bool:
        """Whether a weight is to be compressed when it is read."""
        return param_name in self.plan

    def get_quantize_ops(self) -> ConversionOps:
        """What compresses it."""
        return _Compress(self)

    def _place(self, model: nn.Module, files: list[str]) -> None:
        """Make compressed layers of the sizes that a checkpoint has."""
        if not files:
            raise FormatError("compressed weights are read from safetensors files; here are none")
        renaming = Renaming(model)
        stored = stored_tensors(files)
        targets = {name: renaming(name) for name in (*stored.compressed, *stored.plain)}
        self.present = set(targets.values())
        for name, description in stored.compressed.items():
            target = targets[name]
            if target is None or not self._to_be_compressed(model, target):
                self.decoded[name] = description
                continue
            owner = cast(Owner, owner_of(model, target))
            said = described(description)
            try:
                install(description, meta_buffers(description, said.bytes.values()), [owner])
            except HypercompError as error:
                raise named(error, name) from None
            owner.module._is_hf_initialized = True
            self.take_away_ties(model, target)

    def take_away_ties(self, model: nn.Module, name: str) -> list[str]:
        """Of modules that get this weight, take away the parameter, for nobody to miss it."""
        others = self.ties.get(name, [])
        untie(model, [name, *others])
        absent = [other for other in others if other not in self.present]
        for other in absent:
            owner = cast(Owner, owner_of(model, other))
            parameter = owner.module._parameters.pop(owner.parameter_name)
            self.absent[other] = owner, cast(nn.Parameter, parameter)
            owner.module._is_hf_initialized = True
        return absent

    def get_weight_conversions(self) -> list[WeightConverter]:
        """How tensors are decoded whose layers have no compressed form."""
        return [
            WeightConverter(
                [f"^{re.escape(f'{name}_{part}')}" for part in (DESCRIPTION, *said.bytes)],
                [name],
                [_Decode(description)],
            )
            for name, description in self.decoded.items()
            for said in (described(description),)
        ]

    def _process_model_after_weight_loading(self, model: nn.Module, **kwargs: Any) -> nn.Module:
        for name, others in self.ties.items():
            first = _compressed_module(model, name)
            if first is None:
                continue
            for other in others:
                if other in self.absent:
                    owner, parameter = self.absent.pop(other)
                    owner.module._parameters[owner.parameter_name] = parameter
                    classes()[type(owner.module)].tie(owner.module, first)
                elif (second := _compressed_module(model, other)) is not None:
                    second.tie_if_equal(first)
        # Made anew for each model; nothing of them is needed to save it.
        conversions = getattr(model, "_weight_conversions", None) or []
        model._weight_conversions = [c for c in conversions if not _decodes(c)]
        return model

    def is_serializable(self) -> bool:
        """Whether such a model can be saved: it can."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Whether adapters on top can be trained: they can."""
        return True

    @property
    def is_compileable(self) -> bool:
        """Whether ``torch.compile`` works: it does."""
        return True

    def _dequantize(self, model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
        return decompress_model(model, dtype)


def _source(files: list[str]) -> Source | None:
    """The checkpoint that these files are, or None where there are none."""
    if not files:
        return None
    return open_source(files[0] if len(files) == 1 else Path(files[0]).parent)


def _compressed_module(model: nn.Module, name: str) -> CompressedModule | None:
    module = model.get_submodule(name.rpartition(".")[0])
    return module if isinstance(module, CompressedModule) else None


def _decodes(conversion: object) -> bool:
    return any(isinstance(op, _Decode) for op in getattr(conversion, "operations", ()))


class _Compress(ConversionOps):
    """Compresses a weight that was just read, and makes its module a compressed one."""

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
        for name, read in input_dict.items():
            weight = read[0] if isinstance(read, list) else read
            trellis = self._quantizer.plan[name]
            compressed = CompressedTensor._of(
                trellis.compress(_arrays.flatten(weight), None), "torch"
            )
            owner = cast(Owner, owner_of(model, name))
            install(*buffers_of(compressed, weight.device), [owner])
            owner.module._is_hf_initialized = True
            absent = self._quantizer.take_away_ties(model, name)
            if missing_keys is not None:
                missing_keys.difference_update([name, *absent])
        # There is no parameter to be set.
        return {}


class _Decode(ConversionOps):
    """Decodes a tensor whose layer has no compressed form."""

    def __init__(self, description: str) -> None:
        self._description = description

    def convert(
        self,
        input_dict: Mapping[str, Any],
        target_patterns: list[str] | None = None,
        full_layer_name: str | None = None,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> dict[str, torch.Tensor]:
        assert model is not None
        assert target_patterns is not None
        names = described(self._description).bytes
        parts = {}
        for pattern, read in input_dict.items():
            entry = re.sub(r"\\(.)", r"\1", pattern.removeprefix("^"))
            part = entry.removeprefix(f"{target_patterns[0]}_")
            if part in names:
                parts[part] = read[0] if isinstance(read, list) else read
        tensor = CompressedTensor.from_parts(self._description, parts)
        dtype = model.get_parameter_or_buffer(full_layer_name).dtype
        return {target_patterns[0]: cast(torch.Tensor, tensor.decompress(dtype))}


def mark_compressed(model: nn.Module, request: Request) -> None:
    """Have the models of transformers in `model` know that they are compressed, for saving them."""
    config = HypercompConfig(
        request.trellis.bits,
        target_bits=request.target_bits,
        target_sqnr_db=request.trellis.target_sqnr_db,
        effort=request.trellis.effort,
        sparsity=request.trellis.sparsity,
        incoherence=request.trellis.incoherence,
        seed=request.trellis.seed,
        embeddings=request.embeddings,
        rules=request.rules,
    )
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and any(
            isinstance(part, CompressedModule) for part in module.modules()
        ):
            module.hf_quantizer = HypercompQuantizer(config, pre_quantized=False)
            module.is_quantized = True
            module.quantization_method = METHOD
            module.config.quantization_config = config
            module.config._is_quantized = True


def unmark_compressed(model: nn.Module) -> None:
    """The opposite, for those in which nothing is compressed any more."""
    for module in model.modules():
        # Of the module itself: peft's wrappers pass on what they do not have.
        quantizer = vars(module).get("hf_quantizer")
        if isinstance(quantizer, HypercompQuantizer) and not any(
            isinstance(part, CompressedModule) for part in module.modules()
        ):
            quantizer.remove_quantization_config(module)
