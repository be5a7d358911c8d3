"""PeLK written anew in PyTorch, in the plainest way, to hold pelk's results against: kernels are expanded, position maps
are added tap by tap through a mask convolution. Reads a job (config.json, weights and inputs as safetensors), runs
forward and backward in double precision, writes logits, running statistics and gradients.

    python3 reference.py JOB_DIR
"""
import json
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F


def load(path):
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
        data = f.read()
    kinds = {"F32": np.float32, "I32": np.int32, "U8": np.uint8}
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        a, b = entry["data_offsets"]
        array = np.frombuffer(data[a:b], dtype=kinds[entry["dtype"]]).reshape(entry["shape"])
        out[name] = torch.from_numpy(array.copy())
    return out


def save(path, tensors):
    header, blobs, at = {}, [], 0
    for name, t in tensors.items():
        blob = np.ascontiguousarray(t.detach().numpy().astype(np.float32)).tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def sharing_grid(k, radius, base):
    """Rule A of the paper: 1 in the fine centre, then base^i outward, the last ring cut to what is left."""
    half, left, ring = [1] * radius, (k - 1) // 2 - radius, base
    while left > 0:
        half.append(min(ring, left))
        left -= half[-1]
        ring *= base
    return half[::-1] + [1] + half


class Reference:
    def __init__(self, config, weights, training):
        self.c, self.training = config, training
        self.w = {n: t.double().requires_grad_("running" not in n) for n, t in weights.items()}
        self.stats = {}

    def at(self, name, stage):
        value = self.c[name]
        return value if not isinstance(value, list) else value[stage if len(value) > 1 else 0]

    def layer_norm(self, x, name):  # NCHW, over C
        y = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], self.w[name + ".weight"], self.w[name + ".bias"], 1e-6)
        return y.permute(0, 3, 1, 2)

    def batch_norm(self, x, name):
        mean, var = self.w[name + ".running_mean"].clone(), self.w[name + ".running_var"].clone()
        y = F.batch_norm(x, mean, var, self.w[name + ".weight"], self.w[name + ".bias"], self.training, 0.1, 1e-5)
        self.stats[name + ".running_mean"], self.stats[name + ".running_var"] = mean, var
        return y

    def expand(self, w, grid):  # (C,1,k',k') -> (C,1,k,k)
        times = torch.tensor(grid)
        return w.repeat_interleave(times, 2).repeat_interleave(times, 3)

    def peripheral(self, x, name, stage):
        k = self.at("kernels", stage)
        w = self.expand(self.w[name + ".weight"], sharing_grid(k, self.at("radius", stage), self.at("base", stage)))
        y = F.conv2d(x, w, padding=k // 2, groups=x.shape[1])
        if self.c["position"] == "off":
            return y
        h = self.w["stages.%d.position" % stage]
        wh = w * h.reshape(-1, 1, k, k)
        if self.c["position"] == "all":
            return y + wh.sum((1, 2, 3)).reshape(1, -1, 1, 1)
        inside = torch.ones(1, x.shape[1], *x.shape[2:], dtype=x.dtype)  # taps in the image see h, the others do not
        return y + F.conv2d(inside, wh, padding=k // 2, groups=x.shape[1])

    def mixer(self, x, name, stage):
        if not self.c["reparam"]:
            w = self.w[name + ".weight"]
            return F.conv2d(x, w, self.w[name + ".bias"], padding=w.shape[2] // 2, groups=x.shape[1])
        g = int(self.at("partial", stage) * x.shape[1] + 1e-9)
        first, rest = x[:, :g], x[:, g:]
        if self.at("mixer", stage) == "peripheral":
            y = self.peripheral(first, name + ".large.conv", stage)
        else:
            w = self.w[name + ".large.conv.weight"]
            y = F.conv2d(first, w, padding=w.shape[2] // 2, groups=g)
        y = self.batch_norm(y, name + ".large.bn")
        if name + ".small.conv.weight" in self.w:
            w = self.w[name + ".small.conv.weight"]
            y = y + self.batch_norm(F.conv2d(first, w, padding=w.shape[2] // 2, groups=g), name + ".small.bn")
        return torch.cat([y, rest], 1)

    def block(self, x, name, stage):
        y = self.layer_norm(self.mixer(x, name + ".conv_dw", stage), name + ".norm").permute(0, 2, 3, 1)
        y = F.gelu(F.linear(y, self.w[name + ".mlp.fc1.weight"], self.w[name + ".mlp.fc1.bias"]))
        y = F.linear(y, self.w[name + ".mlp.fc2.weight"], self.w[name + ".mlp.fc2.bias"])
        if name + ".gamma" in self.w:
            y = y * self.w[name + ".gamma"]
        return x + y.permute(0, 3, 1, 2)

    def forward(self, x):  # NCHW
        x = F.conv2d(x, self.w["stem.0.weight"], self.w["stem.0.bias"], stride=self.c["stem"])
        x = self.layer_norm(x, "stem.1")
        for s, depth in enumerate(self.c["depths"]):
            name = "stages.%d" % s
            if s > 0:
                x = self.layer_norm(x, name + ".downsample.0")
                x = F.conv2d(x, self.w[name + ".downsample.1.weight"], self.w[name + ".downsample.1.bias"], stride=2)
            for b in range(depth):
                x = self.block(x, "%s.blocks.%d" % (name, b), s)
        x = F.layer_norm(x.mean((2, 3)), x.shape[1:2], self.w["head.norm.weight"], self.w["head.norm.bias"], 1e-6)
        return F.linear(x, self.w["head.fc.weight"], self.w["head.fc.bias"])


def main(job):
    with open(job + "/config.json") as f:
        config = json.load(f)
    inputs = load(job + "/inputs.safetensors")
    model = Reference(config, load(job + "/weights.safetensors"), config["training"])
    x = inputs["x"].double().permute(0, 3, 1, 2).requires_grad_()
    logits = model.forward(x)
    loss = F.cross_entropy(logits, inputs["labels"].long() - 1, label_smoothing=config["label_smoothing"])
    loss.backward()
    out = {"logits": logits, "loss": loss.reshape(1), "x.grad": x.grad.permute(0, 2, 3, 1)}
    for name, t in model.w.items():
        if t.grad is not None:
            out["grad." + name] = t.grad
    for name, t in model.stats.items():
        out["stats." + name] = t
    save(job + "/result.safetensors", out)


if __name__ == "__main__":
    main(sys.argv[1])
