"""Dynamic sparse training written anew in PyTorch, in double precision and the plainest way, to hold pelk.sparse against:
a small network, its optimiser, pruning by magnitude with exact counts, growing by gradient, by momentum or at random,
the average that knows of masks. The random numbers are the library's (SplitMix64's finaliser over stream and place), so
that random masks can be compared too.

    python3 sparse.py JOB_DIR...      reads job.json, tensors.safetensors; writes result.safetensors
"""
import json
import math
import sys

import torch
import torch.nn.functional as F

from files import load, save

M = (1 << 64) - 1


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    return z ^ (z >> 31)


def bits(stream, i):
    return mix((mix((stream + 0x9E3779B97F4A7C15) & M) + (i + 1) * 0x9E3779B97F4A7C15) & M)


def random_keys(stream, n):
    return torch.tensor([float(bits(stream, i) >> 33) for i in range(n)], dtype=torch.float64)


def top(scores, k):
    """A 0/1 vector with ones at the k largest."""
    chosen = torch.zeros_like(scores)
    if k > 0:
        chosen[torch.topk(scores, k).indices] = 1
    return chosen


def erk(shapes, density):
    """Densities by layer; layers past 1 become dense one after another."""
    raw = [sum(s) / math.prod(s) for s in shapes]
    size = [math.prod(s) for s in shapes]
    dense = set()
    while True:
        budget = density * sum(size) - sum(size[i] for i in dense)
        scale = budget / sum(raw[i] * size[i] for i in range(len(raw)) if i not in dense)
        over = [i for i in range(len(raw)) if i not in dense and raw[i] * scale > 1]
        if not over:
            return [1.0 if i in dense else raw[i] * scale for i in range(len(raw))]
        dense.add(max(over, key=lambda i: raw[i]))


def network(w, x):
    x = F.conv2d(x, w["0.weight"], w["0.bias"], padding=1)  # dense convolution
    x = F.gelu(x)
    x = F.conv2d(x, w["2.weight"], w["2.bias"], padding=2, groups=x.shape[1])  # depthwise
    x = x.mean((2, 3))
    return F.linear(x, w["4.weight"], w["4.bias"])


class Job:
    def __init__(self, directory):
        with open(directory + "/job.json") as f:
            self.c = json.load(f)
        tensors = load(directory + "/tensors.safetensors")
        self.x = tensors.pop("x").double().permute(0, 3, 1, 2)
        self.y = tensors.pop("y").long() - 1
        self.masks = {n[5:]: t.double() for n, t in tensors.items() if n.startswith("mask.")}
        self.w = {n: t.double() for n, t in tensors.items() if not n.startswith("mask.")}
        self.names = [n for n in ("0.weight", "2.weight", "4.weight") if n in self.masks]
        self.m = {n: torch.zeros_like(t) for n, t in self.w.items()}
        self.v = {n: torch.zeros_like(t) for n, t in self.w.items()}
        self.average = {n: t.clone() for n, t in self.w.items()}
        self.steps = self.updates = 0

    def gradients(self):
        w = {n: t.clone().requires_grad_() for n, t in self.w.items()}
        F.cross_entropy(network(w, self.x), self.y).backward()
        return {n: t.grad for n, t in w.items()}

    def optimise(self, g):
        c = self.c
        total = math.sqrt(sum(float((t * t).sum()) for t in g.values()))
        if total > c["clip"]:
            g = {n: t * (c["clip"] / (total + 1e-6)) for n, t in g.items()}
        for n in self.w:
            if c["optimizer"] == "adamw":
                self.m[n] = 0.9 * self.m[n] + 0.1 * g[n]
                self.v[n] = 0.999 * self.v[n] + 0.001 * g[n] ** 2
                decay = c["weight_decay"] if self.w[n].dim() > 1 else 0
                self.w[n] = self.w[n] * (1 - c["lr"] * decay)
                root = (self.v[n] / (1 - 0.999**self.steps)).sqrt() + 1e-8
                self.w[n] = self.w[n] - c["lr"] * (self.m[n] / (1 - 0.9**self.steps)) / root
            else:
                self.m[n] = g[n] if self.steps == 1 else 0.9 * self.m[n] + g[n]
                self.w[n] = self.w[n] - c["lr"] * self.m[n]
        return g

    def apply(self):
        for n in self.names:
            self.w[n] = self.w[n] * self.masks[n]

    def rate(self):
        c = self.c
        fall = 0.5 * (1 + math.cos(math.pi * self.steps / c["total_steps"]))
        return c["prune_rate_end"] + (c["prune_rate"] - c["prune_rate_end"]) * fall

    def scores(self, i, n, g):
        """In the library's order of elements, for the random ones; all others in PyTorch's."""
        growth = self.c["growth"]
        if growth == "gradient":
            return g[n].abs().flatten()
        if growth == "momentum":
            if self.c["optimizer"] == "sgd":
                return self.m[n].abs().flatten()
            return (self.m[n] / self.v[n].sqrt()).nan_to_num(0).abs().flatten()
        shape = list(self.w[n].shape)
        stream = bits(bits(self.c["seed"], self.updates + (1 << 20)), i)
        keys = random_keys(stream, self.w[n].numel())
        if len(shape) == 2:
            return keys
        if shape[1] == 1 and n == "2.weight":  # {k,k,C} there, (C,1,k,k) here
            return keys.reshape(shape[2], shape[3], shape[0]).permute(2, 0, 1).flatten()
        return keys.reshape(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2).flatten()

    def update(self, g):
        rate = self.rate()
        for i, n in enumerate(self.names):
            mask, w = self.masks[n].flatten(), self.w[n].flatten().clone()
            count = math.ceil(rate * int(mask.sum()))
            size = torch.where(mask > 0, -w.abs(), torch.tensor(-math.inf, dtype=torch.float64))
            mask = mask - top(size, count)
            score = torch.where(mask > 0, torch.tensor(-1.0, dtype=torch.float64), self.scores(i, n, g))
            grown = top(score, count)
            mask = mask + grown
            fresh = 1 - grown
            self.w[n] = (w * mask * fresh).reshape(self.w[n].shape)
            self.m[n] = self.m[n] * fresh.reshape(self.m[n].shape)
            self.v[n] = self.v[n] * fresh.reshape(self.v[n].shape)
            self.masks[n] = mask.reshape(self.w[n].shape)
        self.updates += 1

    def step(self):
        self.steps += 1
        g = self.optimise(self.gradients())
        self.apply()
        if self.steps % self.c["update_every"] == 0:
            self.update(g)
        d = self.c["ema"]
        for n in self.w:  # SLaK's rule: what is new begins at the weight, what is masked is 0
            old, mask = self.average[n], self.masks.get(n, torch.ones_like(self.w[n]))
            moved = mask * (d * old + (1 - d) * self.w[n])
            begins = (old == 0) & (mask == 1) if n in self.masks else torch.zeros_like(mask, dtype=torch.bool)
            self.average[n] = moved + d * self.w[n] * begins


def main(directory):
    job = Job(directory)
    out = {}
    g = job.gradients()  # SNIP and ERK, of the weights before any mask
    flat = torch.cat([(job.w[n] * g[n]).abs().flatten() for n in job.names])
    kept, at = top(flat, int(len(flat) * job.c["density"])), 0
    for n in job.names:
        out["snip." + n] = kept[at : at + job.w[n].numel()].reshape(job.w[n].shape)
        at += job.w[n].numel()
    out["erk"] = torch.tensor(erk([list(job.w[n].shape) for n in job.names], job.c["density"]))
    job.apply()
    job.average = {n: t.clone() for n, t in job.w.items()}
    for k in range(1, job.c["steps"] + 1):
        job.step()
        for n in job.names:
            out[f"{k}.mask.{n}"] = job.masks[n]
    for n in job.w:
        out["w." + n], out["average." + n] = job.w[n], job.average[n]
    save(directory + "/result.safetensors", out)


for each in sys.argv[1:]:
    main(each)
