"""Training adapters on compressed models: the Trainer, accelerate, and a loop of one's own."""

import copy
import functools

import pytest
import torch
from torch.utils.data import DataLoader

import hypercomp_rs.torch as hct

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
accelerate = pytest.importorskip("accelerate")

pytestmark = [
    # Those of the libraries; but nothing is made dense that was not to be.
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("error::hypercomp_rs.errors.MadeDenseWarning"),
]

TOKENS = torch.randint(0, 300, (4, 9), generator=torch.Generator().manual_seed(0))
ROWS = [{"input_ids": row, "labels": row} for row in TOKENS]


@functools.cache
def compressed():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=128,
        num_attention_heads=4,
        num_hidden_layers=1,
        tie_word_embeddings=True,
    )
    model = transformers.LlamaForCausalLM(config)
    hct.compress_model(model, bits=4, progress=False)
    return model


def adapted(**options):
    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", **options
    )
    return peft.get_peft_model(copy.deepcopy(compressed()), config)


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS[:1].to(next(model.parameters()).device)).logits


def codes(model):
    return {name: b.clone() for name, b in model.named_buffers() if "weight_" in name}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("saved", [None, ["lm_head"]])
def test_the_trainer_trains_and_saves_an_adapter(checkpointing, saved, tmp_path):
    model = adapted(modules_to_save=saved)
    before, base = logits(model), codes(model)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "run"),
        per_device_train_batch_size=2,
        max_steps=2,
        learning_rate=0.01,
        gradient_checkpointing=checkpointing,
        save_steps=2,
        report_to=[],
        use_cpu=True,
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=ROWS)
    result = trainer.train()
    assert result.global_step == 2
    after = logits(model)
    assert not torch.allclose(after, before)
    assert all(torch.equal(base[name], buffer) for name, buffer in codes(model).items())
    model.save_pretrained(tmp_path / "adapter")
    for folder in (tmp_path / "adapter", tmp_path / "run" / "checkpoint-2"):
        again = peft.PeftModel.from_pretrained(copy.deepcopy(compressed()), folder)
        assert torch.allclose(logits(again), after, atol=1e-5)
    assert sum(isinstance(m, hct.CompressedModule) for m in model.modules()) == 9


def test_accelerate_prepares_a_model_with_adapters():
    accelerator = accelerate.Accelerator(cpu=True)
    model = adapted()
    trained = [p for p in model.parameters() if p.requires_grad]
    loader = DataLoader(TOKENS, batch_size=2)
    model, optimiser, loader = accelerator.prepare(
        model, torch.optim.AdamW(trained, lr=0.01), loader
    )
    before = logits(model)
    for tokens in loader:
        accelerator.backward(model(input_ids=tokens, labels=tokens).loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    assert not torch.allclose(logits(model), before)
    state = accelerator.get_state_dict(model)
    assert not any("compressed" in name for name in state)
    assert any(name.endswith("weight_description") for name in state)
    assert accelerator.unwrap_model(model) is model


def test_an_optimiser_is_given_all_parameters():
    model = adapted().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    before, base = logits(model), codes(model)
    for _ in range(2):
        model(input_ids=TOKENS, labels=TOKENS).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    assert not torch.allclose(logits(model), before)
    assert all(torch.equal(base[name], buffer) for name, buffer in codes(model).items())


def test_all_of_a_model_that_is_dense_again_trains():
    model = hct.decompress_model(copy.deepcopy(compressed()))
    weights = dict(model.named_parameters())
    assert all(weight.requires_grad for weight in weights.values())
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    optimiser.step()
    assert not any(torch.equal(weights[name], before[name]) for name in before)
