"""Low-rank adapters trained on a frozen compressed model, by peft."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

import hypercomp_rs.torch as hct


def main() -> None:
    """Teach a compressed model of random weights one sentence."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=256, n_embd=128, n_layer=2, n_head=4))
    hct.compress_model(model, bits=4, progress=False)
    model = get_peft_model(
        model, LoraConfig(r=8, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True)
    )
    model.print_trainable_parameters()
    ids = torch.tensor([list(b"any weight is near some point of the trajectory")])
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    print(f"loss {losses[0]:.2f} at first, {losses[-1]:.2f} after {len(losses)} steps")
    assert losses[-1] < 0.8 * losses[0]


if __name__ == "__main__":
    main()
