"""Files as PyTorch writes them, for the reader of .pth files.

    python3 make_pth.py DIR           all of them
    python3 make_pth.py --golden DIR  the two tiny ones that are kept in spec/golden
"""
import argparse
import collections
import sys

import numpy as np
import torch


def golden(d):
    w = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    state = collections.OrderedDict([("w", w), ("wt", w.t()), ("half", torch.tensor([1.5, -2.0]).half())])
    torch.save({"model": state, "epoch": 3}, d + "/tiny.pth")
    torch.save({"model": state, "epoch": 3}, d + "/tiny_old.pth", _use_new_zipfile_serialization=False)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 2)


def everything(d):
    torch.manual_seed(1)
    golden(d)
    base = torch.arange(24, dtype=torch.float32)
    kinds = {
        "float": base.reshape(2, 3, 4), "half": base.half(), "brain": base.bfloat16(), "double": base.double(),
        "long": base.long(), "int": base.int(), "short": base.short(), "char": base.char(), "byte": base.byte(),
        "bool": base > 3, "scalar": torch.tensor(2.5), "none": torch.zeros(0, 3), "slice": base[5:9],
        "turned": base.reshape(4, 6).t(), "strided": base[::3], "shared": base, "parameter": torch.nn.Parameter(base[:4]),
        "channels_last": base.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
    }
    torch.save(kinds, d + "/kinds.pth")
    torch.save(kinds, d + "/kinds_old.pth", _use_new_zipfile_serialization=False)
    torch.save(kinds, d + "/kinds4.pth", pickle_protocol=4)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters())
    net.fc(net.bn(net.conv(torch.randn(2, 3, 3, 3))).flatten(1)).sum().backward()
    optimizer.step()
    ema = {k: v + 1 if v.is_floating_point() else v for k, v in net.state_dict().items()}
    args = argparse.Namespace(lr=4e-3, data="/x", sizes=[1, 2], device=torch.device("cpu"))
    torch.save({"model": net.state_dict(), "model_ema": ema, "optimizer": optimizer.state_dict(), "epoch": 299,
                "args": args, "best": np.float64(81.5), "arch": "net", "history": collections.defaultdict(list, a=[1.0]),
                "nested": {"state_dict": {"a": base[:2], "b": [base[2:4], base[4:6]]}}}, d + "/checkpoint.pth")
    torch.save(net, d + "/module.pth")
    torch.save([base[:2], (base[2:3], {"x": base[3:4]})], d + "/list.pth")
    torch.save(base, d + "/single.pth")
    torch.save({"lr": 1}, d + "/empty.pth")
    np.savez(d + "/expected.npz", **{k: v.detach().float().numpy() for k, v in kinds.items()},
             **{"net." + k: v.numpy() for k, v in net.state_dict().items() if v.is_floating_point()})


if sys.argv[1] == "--golden":
    golden(sys.argv[2])
else:
    everything(sys.argv[1])
