"""Runs modules of family.py in double precision for spec/torch_spec.lua: forward and backward, and what came out.

    python3 spec/torch/reference.py JOB_DIR...

A job is config.json: kind and options for family.build, training, size {N,H,W}, golden. Weights and inputs are those of
formula.py. It leaves weights.safetensors (under the module's names) and result.safetensors: y, x.grad (images and maps
NHWC), grad.NAME, stats.NAME after the forward, feature.I of a Model; of a golden job a digest of these, for a file.
"""
import json
import sys

import torch

import family
import formula
from files import save

SAMPLE = 61  # a golden file holds every 61st element of the input's gradient


def nhwc(t):
    return t.permute(0, 2, 3, 1) if t.ndim == 4 else t


def state(module):
    return {n: t for n, t in module.state_dict().items() if not n.endswith("num_batches_tracked")}


def run(config):
    """The module with its weights before the forward, and all that came out."""
    torch.set_default_dtype(torch.float64)
    o = config["options"]
    module = family.build(config["kind"], o).train(config["training"])
    weights = {n: formula.values(n, t.shape) for n, t in state(module).items()}
    module.load_state_dict({n: t.double() for n, t in weights.items()}, strict=False)
    n, h, w = config["size"]
    given = formula.values("x", (n, h, w, o.get("in_channels") or o["channels"])).double().requires_grad_()
    x = given.permute(0, 3, 1, 2)
    out = {"y": nhwc(module(x))}
    out["y"].backward(formula.values("dy", out["y"].shape).double())
    out["x.grad"] = given.grad
    out.update(("grad." + name, p.grad) for name, p in module.named_parameters() if p.grad is not None)
    out.update(("stats." + name, b) for name, b in state(module).items() if "running" in name)
    if config["kind"] == "Model" and not config["training"]:
        out.update(("feature.%d" % (i + 1), nhwc(f)) for i, f in enumerate(module.features(x)))
    return weights, out


def digest(out):
    """What a golden file keeps: of every gradient and statistic a product with a pattern and its norm, sorted by name."""
    grads = sorted(n for n in out if n.startswith("grad."))
    stats = sorted(n for n in out if n.startswith("stats."))
    kept = {
        "y": out["y"],
        "x.grad": out["x.grad"].reshape(-1)[::SAMPLE],
        "grads": torch.tensor([formula.dot(n, out[n]) for n in grads]),
        "norms": torch.tensor([float(out[n].norm()) / out[n].numel() ** 0.5 for n in grads]),
    }
    if stats:
        kept["stats"] = torch.tensor([formula.dot(n, out[n]) for n in stats])
    return kept


def main(job):
    with open(job + "/config.json") as f:
        config = json.load(f)
    weights, out = run(config)
    save(job + "/weights.safetensors", weights)
    save(job + "/result.safetensors", digest(out) if config["golden"] else out)


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        main(folder)
