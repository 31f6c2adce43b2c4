"""``HypercompConfig``: the parameters for ``from_pretrained``, and the entry in ``config.json``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from transformers.quantizers.auto import register_quantization_config
from transformers.utils.quantization_config import QuantizationConfigMixin

from ...checkpoint.load_guard import METHOD
from ...checkpoint.plan import Request
from ...checkpoint.rules import Rule, rules_of
from ...checkpoint.sensitivity import Sensitivity
from ...compress import Effort, Layout, Trellis
from ...errors import FormatError, InvalidArgumentError

FORMAT = 1


@register_quantization_config(METHOD)
class HypercompConfig(QuantizationConfigMixin):
    """How ``from_pretrained(path, quantization_config=...)`` compresses a model.

    Parameters
    ----------
    bits, target_bits, target_sqnr_db
        One of: bits per weight of each compressed tensor (the default, 4); bits per weight of the
        whole checkpoint, everything counted, spread over its tensors by equal slope; decibels of
        each tensor.
    effort, sparsity, incoherence, seed, layout
        As for :func:`hypercomp_rs.compress_tensor`.
    embeddings
        "keep" leaves tables of tokens dense.
    rules
        For tensors whose names in the checkpoint match a pattern, see
        :class:`hypercomp_rs.checkpoint.Rule`.
    modules_to_not_convert
        Modules that stay dense: names, endings of names, or regular expressions.
    calibration
        Batches of typical inputs, as for :func:`hypercomp_rs.torch.compress_model`: the model is
        loaded dense, so it has to fit in memory, and then compressed for the outputs of its layers.
        `target_bits` are then those of the compressed weights, and `rules` go by the names in the
        model. The batches are not stored in ``config.json``. For larger models there is
        ``hypercomp-rs compress --calibration``.
    quant_method, format
        For ``config.json``: "hypercomp", and the number of the stored form. A folder with another
        number is refused.
    transformers_weights
        For ``config.json``: the name of the file of weights, if it is not the usual one.

    Raises
    ------
    InvalidArgumentError
        An argument that is not accepted.
    FormatError
        A folder that was made by a later version of this package.

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
        layout: Layout | None = None,
        embeddings: Literal["compress", "keep"] = "compress",
        rules: Iterable[str | Rule] = (),
        modules_to_not_convert: Iterable[str] | None = None,
        calibration: Iterable[Any] | None = None,
        quant_method: str = METHOD,
        format: int = FORMAT,
        transformers_weights: str | None = None,
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
            layout=layout or "chains",
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
        self.layout = layout
        self.embeddings = embeddings
        self.rules = [str(rule) for rule in rules_of(rules)]
        self.modules_to_not_convert = (
            None if modules_to_not_convert is None else list(modules_to_not_convert)
        )
        self.transformers_weights = transformers_weights
        if calibration is not None and (sparsity is not None or target_sqnr_db is not None):
            raise InvalidArgumentError(
                "calibration with sparsity or target_sqnr_db: bits and target_bits are accepted"
            )
        self._calibration = calibration
        self.request()

    @classmethod
    def of_size(cls, nbytes: int, weights: int) -> HypercompConfig:
        """A configuration with their mean rate, for codes made with unknown parameters."""
        bits = 8 * nbytes / max(1, weights)
        return cls(min(8.0, max(1.0, round(bits, 2))))

    @property
    def calibration(self) -> Iterable[Any] | None:
        """The batches to calibrate with; None for a model that is compressed as it is read."""
        return self._calibration

    def request(self) -> Request:
        """The same parameters in the form that :func:`compress_checkpoint` uses."""
        trellis = Trellis(
            bits=self.bits,
            target_sqnr_db=self.target_sqnr_db,
            effort=self.effort,
            sparsity=self.sparsity,
            incoherence=self.incoherence,
            seed=self.seed,
            layout=self.layout or "chains",
        )
        return Request(
            trellis, self.target_bits, self.embeddings, rules_of(self.rules), Sensitivity(None)
        )

    def get(self, name: str, default: Any = None) -> Any:
        """An entry. transformers uses the configuration of a loaded model as a dict."""
        return self.to_dict().get(name, default)

    def to_dict(self) -> dict[str, Any]:
        """The entry ``quantization_config`` of ``config.json``."""
        return {
            name: value
            for name, value in vars(self).items()
            if value is not None and not name.startswith("_")
        }
