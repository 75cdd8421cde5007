"""What a code says about one position after another, written out in float64."""

import torch


def scaled(x, code):
    if code.scaling == "layer_norm":
        return (x - x.mean()) / (x.std(correction=1) + 1e-5)
    if code.scaling == "constant_norm":
        return x * len(x) ** 0.5 / x.norm()
    return x * code.factor if code.scaling == "factor" else x


def tensor(code, name, size):
    given = getattr(code, name)
    return torch.zeros(size, dtype=torch.float64) if given is None else given.double()


def slow_values(code, positions):
    """Values (positions, latents) in float64."""
    return torch.stack([_one(code, x.double()) for x in positions])


def _one(code, x):
    m, d = code.encoder.shape
    g = code.encoder.double() @ (scaled(x, code) - tensor(code, "pre_bias", d))
    bias = tensor(code, "bias", m)
    norms = None if code.decoder is None else code.decoder.double().norm(dim=1)
    h = g + bias
    if code.decoder_norm == "before":
        h = h * norms
    positive = h.clamp(min=0)
    if code.activation == "linear":
        value = h
    elif code.activation == "relu":
        value = positive
    elif code.activation == "topk":
        of = positive if code.order == "relu_topk" else h
        kept = sorted(range(m), key=lambda i: (-of[i], i))[: code.k]
        value = torch.tensor([float(positive[i]) if i in kept else 0.0 for i in range(m)], dtype=torch.float64)
    elif code.activation == "jumprelu":
        threshold = code.threshold.double()
        value = positive * (h > threshold if code.comparison == ">" else h >= threshold)
    else:
        value = (code.magnitude.double() * g + bias).clamp(min=0) * (g + code.gate_bias.double() > 0)
    return value * norms if code.decoder_norm == "after" else value
