"""A small convolutional network on handwritten digits: trained, pruned by magnitude, compressed.

scikit-learn ships the data: 1,797 images of 8 x 8. The network is larger than they need, as those
that are pruned are; two thirds of the images are for training, and accuracy is that on the rest.
"""

import copy
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import hypercomp_rs as hc


class Images(NamedTuple):
    """Pixels (n, 1, 8, 8) and labels (n,), to learn from and to be judged by."""

    train: torch.Tensor
    train_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor


def images():
    data = load_digits()
    pixels = torch.tensor(data.images / 16 - 0.3, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(data.target)
    split = train_test_split(pixels, labels, test_size=1 / 3, random_state=0, stratify=data.target)
    train, test, train_labels, test_labels = split
    return Images(train, train_labels, test, test_labels)


def network(width=64):
    """Four convolutions and two linear layers, with batch normalisation: VGG's kind."""

    def stage(inputs, outputs):
        return [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]

    return nn.Sequential(
        *stage(1, width),
        *stage(width, 2 * width),
        nn.Flatten(),
        nn.Linear(8 * width, 4 * width),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(4 * width, 10),
    )


def matrices(model):
    """What is pruned and compressed: the weights of convolutions and linear layers."""
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def train(model, data, epochs, rate, masks=None):
    """Adam with a falling step; masked weights stay zero."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
    batches = (len(data.train) + 63) // 64
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(data.train)).split(64):
            # Moved by up to a pixel, so that 1,198 images do not run out.
            dx, dy = torch.randint(-1, 2, (2,)).tolist()
            shifted = data.train[chosen].roll((dx, dy), (2, 3))
            loss = nn.functional.cross_entropy(model(shifted), data.train_labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                for w, mask in zip(matrices(model), masks or [], strict=bool(masks)):
                    w.mul_(mask)
    return model.eval()


def accuracy(model, data):
    with torch.no_grad():
        return float((model(data.test).argmax(1) == data.test_labels).float().mean())


def pruned(model, data, sparsity, epochs):
    """The weights of least magnitude, over all layers, set to zero in three rounds and a half.

    Each round is followed by training of what is left.
    """
    model = copy.deepcopy(model)
    for part in (0.5, 0.8, 1.0):
        with torch.no_grad():
            every = torch.cat([w.abs().flatten() for w in matrices(model)])
            threshold = every.kthvalue(round(part * sparsity * len(every))).values
            masks = [(w.abs() > threshold).float() for w in matrices(model)]
            for w, mask in zip(matrices(model), masks, strict=True):
                w.mul_(mask)
        train(model, data, epochs, 1e-3, masks)
    return model


def compressed(model, **options):
    """A copy from compressed weights, and the bytes of the whole model.

    Biases and what batch normalisation keeps, its running statistics too, stay in float32.
    """
    model = copy.deepcopy(model)
    nbytes = sum(t.nbytes for t in model.state_dict().values() if t.is_floating_point())
    with torch.no_grad():
        for w in matrices(model):
            c = hc.compress_tensor(w, **options)
            decoded = c.decompress()
            if options.get("sparsity") and not torch.equal(decoded == 0, w == 0):
                raise SystemExit("a pruned weight came back")
            nbytes += c.nbytes - w.nbytes
            w.copy_(decoded)
    return model, nbytes


def size(model):
    """Bytes in float32."""
    return sum(t.nbytes for t in model.state_dict().values() if t.is_floating_point())
