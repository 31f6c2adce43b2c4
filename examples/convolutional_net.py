"""A small convolutional net, trained on handwritten digits, on codes of a few bits."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import hypercomp_rs.torch as hct


def trained(images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """A net that knows these digits."""
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 16, 10),
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(4):
        for batch in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimiser.step()
    return net.eval()


def main() -> None:
    """Train, compress, and count what is still read rightly."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    net = trained(images[:1400], labels[:1400])

    def accuracy() -> float:
        with torch.inference_mode():
            found = net(images[1400:]).argmax(1)
        return (found == labels[1400:]).float().mean().item()

    before = accuracy()
    report = hct.compress_model(net, target_bits=3, progress=False)
    print(report)
    print(f"accuracy {before:.3f} before, {accuracy():.3f} after")
    assert accuracy() > before - 0.02


if __name__ == "__main__":
    main()
