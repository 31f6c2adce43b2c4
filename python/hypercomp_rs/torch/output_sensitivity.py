"""How much a model's output minds errors in each calibrated layer.

Let g_t be the gradient of a scalar L with respect to what a layer gives for token t, and x_t what
it gets. An error E of its weights changes L by ⟨E, M⟩, M = Σ_t g_t·x_tᵀ over the tokens of a
sample: errors that tokens have in common add up, as they do in the mean that a sentence encoder
takes. Codes with feedback (:func:`hypercomp_rs.compress_tensor`, ``second_moment``) leave errors
that are as good as independent between outputs, each of covariance θ·H⁻¹, where H is the second
moment of the inputs: the bits of an input make its noise D_j·σ_j²·4^(-R_j) the same θ for all, with
D from H = U·D·Uᵀ and σ_j² the mean square of input j's weights. So the change of L has mean square
θ·E[uᵀ·H⁻¹·u], where u = Mᵀ·r and r is a random vector over the outputs; of a sample nothing has to
be kept but a few u, weighted sums of its inputs.

At R bits a weight, θ is the level of reverse water-filling:

    R = mean over inputs of max(0, log(D_j·σ_j²/θ) / log 4).

Inputs below it get no bits. So a layer in which few inputs count loses less by fewer bits than
4^(-R) says while there are many bits, and needs each of them more when there are few.

L is a random combination of what the model gives, so that its mean square change is that of the
output. Of logits it is the logarithm of the probability of a token that is drawn from them: its
mean square change is the Fisher information, twice the divergence of the predictions.

On all-MiniLM-L6-v2 this takes 0.9 dB off the error of the embeddings; that errors of tokens are not
independent is the main part of it (without, the last layers seem to matter 20 times too little, and
bits that are spread by that do harm).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from ..checkpoint.allocation import HIGHEST_RATE, LOWEST_RATE
from .calibration import Layer, RefusedError, first_argument
from .gradient_checkpointing import SavedActivations, blocks_of, checkpointed

# Samples that tell enough: the bits of a layer are off by about log2(1 + 1/√64)/2 = 0.08.
SAMPLES = 64
# Of long texts, for whose tokens a language model predicts the next ones, so many tell enough.
# Twice as many take 16 s longer on SmolLM2-135M (one core of a Zen 3), where the search takes 35:
# at 3 bits, the divergence is then 0.189 nats instead of 0.197.
LONG_SAMPLES, TOKENS = 4, 2048
# Vectors r for each sample.
DRAWS = 4
# Of a layer that only some of the samples go through, such as an expert, a cost from fewer vectors
# than this is no estimate: with 16 its bits are off by about log2(1 + 1/√16)/2 = 0.16.
ENOUGH = 16
# Of the logarithms of what layers cost at the same rate, the part that counts. They are costs of
# small errors in one layer of a model that is exact otherwise; with errors in all layers, costs
# differ by less. Of SmolLM2-135M at 3 bits, the divergence is 0.210 nats with 0.7 and 0.218 with 1.
DIFFERENCES = 0.7
# Rows of logits at a time.
ROWS = 256
# Told what a layer got, and the gradient of what it gave.
Tell = Callable[[torch.Tensor, torch.Tensor], None]
# Names under which models give what they are for.
OUTPUTS = ("sentence_embedding", "logits", "last_hidden_state")


class WaterFilling:
    """The rate of a layer whose inputs share its bits, see above.

    Parameters
    ----------
    weights
        Number of weights.
    sensitivity
        E[uᵀ·H⁻¹·u], the error for θ = 1.
    variances
        D_j·σ_j² of each input.
    """

    def __init__(self, weights: int, sensitivity: float, variances: torch.Tensor) -> None:
        self.weights, self.sensitivity = weights, sensitivity
        self._gain = math.log(2 * math.log(2) * sensitivity / weights)
        self._variances = variances
        self._logarithms = variances[variances > 0].log()

    @property
    def cost(self) -> float:
        """The logarithm of what one more bit saves of each weight, at 0 bits and without water."""
        return self._gain + float(self._logarithms.mean())

    def times(self, logarithm: float) -> WaterFilling:
        """The same for e^logarithm times the error."""
        return WaterFilling(self.weights, self.sensitivity * math.exp(logarithm), self._variances)

    def rate(self, multiplier: float) -> float:
        """The rate, within the limits, at which one more bit saves as much as the multiplier."""
        level = multiplier * math.log(10) - self._gain
        bits = float((self._logarithms - level).clamp_min(0).sum()) / math.log(4)
        return min(HIGHEST_RATE, max(LOWEST_RATE, bits / len(self._variances)))


def drawn_together(curves: Sequence[WaterFilling]) -> list[WaterFilling]:
    """The same curves, the costs of which differ by :data:`DIFFERENCES` of what they did."""
    weights = sum(curve.weights for curve in curves)
    mean = sum(curve.weights * curve.cost for curve in curves) / max(1, weights)
    return [curve.times((DIFFERENCES - 1) * (curve.cost - mean)) for curve in curves]


class _GradientTap(torch.autograd.Function):
    """A copy of what a layer gives, whose gradient is told, together with what the layer got.

    What it got is saved like all that gradients need, so gradient checkpointing includes it.
    """

    @staticmethod
    def forward(
        ctx: Any, y: torch.Tensor, x: torch.Tensor, start: torch.Tensor, tell: Tell
    ) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.tell = tell
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        ctx.tell(x, gradients[0])
        return (gradients[0] if ctx.needs_input_grad[0] else None), None, None, None


class OutputSensitivity:
    """What errors in layers do to a model's output on some samples, from its gradients.

    Parameters
    ----------
    model, layers
        What is run, and the layers of it.
    limit
        Bytes that may be kept for the backward pass. If a pass would keep more, blocks are computed
        anew.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer], limit: int) -> None:
        self._layers = tuple(layers)
        self._vectors: dict[str, list[torch.Tensor]] = {layer.name: [] for layer in layers}
        self._samples = 0
        self._tried = self._tokens = 0
        self._model: nn.Module | None = model
        self._saved: SavedActivations | None = SavedActivations(model, limit)
        self._blocks: list[nn.Module] = []
        self._tapped = False
        # Not the caller's: the same layers get the same bits whatever was drawn before. Each layer
        # has its own, for in the backward pass their order is the graph's.
        self._random = torch.Generator().manual_seed(0)
        self._random_of = {
            layer.name: torch.Generator().manual_seed(i + 1) for i, layer in enumerate(layers)
        }

    def run(self, forward: Callable[[], Any], mask: torch.Tensor | None) -> None:
        """Run the model forward, and back from what it gives."""
        self._tapped = False
        # Gradients are asked of this, to which they lead from every layer.
        self._start = torch.zeros((), requires_grad=True)
        with ExitStack() as stack:
            for layer in self._layers:
                for module in layer.modules:
                    hook = module.register_forward_hook(self._hook(layer), with_kwargs=True)
                    stack.callback(hook.remove)
            stack.enter_context(checkpointed(self._blocks))
            stack.enter_context(torch.enable_grad())
            if self._saved is None:
                output = forward()
            else:
                with self._saved.counted():
                    output = forward()
                if self._saved.too_much:
                    self._blocks = self._found_blocks()
                    stack.enter_context(checkpointed(self._blocks))
                    output = forward()
                self._saved = None
            # Samples that no layer has a part in say nothing of any.
            if self._tapped:
                self._backward(output, mask)

    def _found_blocks(self) -> list[nn.Module]:
        assert self._model is not None
        modules = [module for layer in self._layers for module in layer.modules]
        return blocks_of(self._model, modules)

    def _hook(self, layer: Layer) -> Callable[..., torch.Tensor]:
        def tell(x: torch.Tensor, gradient: torch.Tensor) -> None:
            if gradient.numel():
                vectors = self._weighted_sums(x, gradient, self._random_of[layer.name])
                self._vectors[layer.name].append(vectors)

        def hook(module: nn.Module, args: Any, kwargs: Any, y: torch.Tensor) -> torch.Tensor:
            # Beneath no_grad and in inference mode nothing has a gradient, nor takes one.
            if y.is_inference() or not torch.is_grad_enabled():
                return y
            self._tapped = True
            tapped: torch.Tensor = _GradientTap.apply(
                y, first_argument(args, kwargs), self._start, tell
            )
            return tapped

        return hook

    def _backward(self, output: Any, mask: torch.Tensor | None) -> None:
        name, y = _picked(output)
        # A model without gradients has none however many batches it is run on.
        self._tried += 1 if y is None else max(1, len(y))
        if y is None:
            return
        self._samples += len(y)
        try:
            with torch.no_grad():
                direction = self._direction(name, y, mask)
            torch.autograd.grad(y, self._start, direction, allow_unused=True)
        except Exception as error:
            raise RefusedError(error) from error

    @property
    def wanted(self) -> bool:
        """Whether further samples would tell more."""
        long = self._tried >= LONG_SAMPLES and self._tokens >= TOKENS
        return not long and self._tried < SAMPLES

    @property
    def names(self) -> frozenset[str]:
        """Of the layers."""
        return frozenset(self._vectors)

    def end(self) -> None:
        """Forget the model; no further samples come."""
        self._model, self._blocks, self._layers = None, [], ()

    def _direction(self, name: str, y: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The gradient of L with respect to what the model gives; 0 where there is padding."""
        padded = mask is not None and y.dim() > 2 and y.shape[:2] == mask.shape
        if name == "logits":
            direction = self._scores(y.detach())
            tokens = math.prod(y.shape[:-1])
            self._tokens += int(mask.sum()) if mask is not None and padded else tokens
        else:
            real = torch.view_as_real(y) if y.is_complex() else y
            direction = torch.randn(real.shape, generator=self._random).to(y.device, real.dtype)
            direction = torch.view_as_complex(direction) if y.is_complex() else direction
        if mask is not None and padded:
            direction[~mask] = 0
        return direction

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        """The gradient of log p of a token that is drawn from p: the token minus p."""
        scores = torch.empty_like(logits)
        flat = scores.view(-1, scores.shape[-1])
        # Some rows at a time: of all, float32 chances and their sums are gigabytes.
        for at, rows in enumerate(logits.reshape(flat.shape).split(ROWS)):
            chances = rows.float().softmax(-1)
            sums = chances.cumsum(-1)
            drawn = torch.rand(len(rows), 1, generator=self._random).to(rows.device)
            token = torch.searchsorted(sums, drawn * sums[:, -1:]).clamp_max(rows.shape[-1] - 1)
            chances.neg_().scatter_add_(-1, token, torch.ones_like(drawn))
            flat[at * ROWS : at * ROWS + len(rows)] = chances
        return scores

    def _weighted_sums(
        self, x: torch.Tensor, gradient: torch.Tensor, random: torch.Generator
    ) -> torch.Tensor:
        """The u = Mᵀ·r of each sample, (samples, draws, inputs): tokens are the axes between."""
        chances = torch.randn(gradient.shape[-1], DRAWS, generator=random).to(gradient.device)
        weights = gradient.float() @ chances
        samples, inputs = x.shape[0] if x.dim() > 1 else 1, x.shape[-1]
        count = math.prod(x.shape[1:-1])
        tokens = x.float().reshape(samples, count, inputs)
        return weights.reshape(samples, count, DRAWS).transpose(1, 2) @ tokens

    def curve(
        self, layer: Layer, weight: torch.Tensor, axis: int, factor: torch.Tensor
    ) -> WaterFilling | None:
        """The mean square change of the output as a function of the layer's rate.

        None where it is not known, or is nothing: the output has no gradient for the layer, or one
        that is zero or beyond its dtype; or hardly any of the samples went through the layer.
        `factor` is that of :func:`reversed_factor` for the damped second moment, `axis` that of
        `weight` along which the inputs lie.
        """
        vectors = self._vectors[layer.name]
        if not vectors:
            return None
        u = torch.cat(vectors).to(factor.dtype)
        if u.any(2).any(1).sum() < min(ENOUGH, max(1, self._samples)):
            return None
        u = torch.linalg.solve_triangular(factor, u.flatten(0, 1).flip(1).t(), upper=False)
        squares = weight.detach().to(factor.dtype).square().mean(1 - axis)
        variances = squares * factor.diagonal().square().flip(0)
        sensitivity = float(u.square().sum() / (DRAWS * self._samples))
        # Gradients of float16 may overflow.
        if not math.isfinite(sensitivity) or sensitivity <= 0 or not variances.any():
            return None
        return WaterFilling(weight.numel(), sensitivity, variances)


def reversed_factor(moment: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """The lower triangular L of L·Lᵀ = H with its inputs in reverse order, and whether it failed.

    Its diagonal is that of √D in H = U·D·Uᵀ, from the last input to the first.
    """
    factor, failed = torch.linalg.cholesky_ex(moment.flip(0, 1))
    return factor, bool(failed)


def _picked(output: Any) -> tuple[str, torch.Tensor | None]:
    """Of what a model gives, the tensor that it is for, and its name where that is known.

    It is one with a gradient; where none of those with a name has one, the first of all.
    """
    fields = _fields(output)
    for name in OUTPUTS:
        if name in fields and _has_gradient(fields[name]):
            return name, fields[name]
    return "", next(filter(_has_gradient, _tensors(output)), None)


def _fields(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return vars(value)
    return {}


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in mappings, sequences and dataclasses, in their order."""
    if isinstance(value, torch.Tensor):
        yield value
        return
    for part in value if isinstance(value, (list, tuple)) else _fields(value).values():
        yield from _tensors(part)


def _has_gradient(value: Any) -> bool:
    """Whether this is a tensor of samples that hangs on the layers; a loss is of all samples."""
    return isinstance(value, torch.Tensor) and value.requires_grad and value.dim() > 0
