# SPDX-License-Identifier: MIT
"""A training step for the CPU without autograd: matrix products by torch in bfloat16, all between them by fused.c, which
the C compiler builds at first use. About twice as fast as the plain way, which remains what defines the result."""
import ctypes
import os
import subprocess
import tempfile

import torch

FLAGS = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-shared", "-fPIC", "-std=gnu11"]


def library():
    """The compiled fused.c, or None where there is no C compiler or no bfloat16 worth having."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fused.c")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fused.so")
        try:
            subprocess.run([os.environ.get("CC", "cc"), *FLAGS, source, "-o", path, "-lmvec", "-lm"], check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return ctypes.CDLL(path)


def ptr(t):
    return ctypes.c_void_p(0 if t is None else t.data_ptr())


def size(*values):
    return [ctypes.c_size_t(v) for v in values]


class Fused:
    """Adds the gradients of a batch to the .grad of the model's parameters."""

    def __init__(self, net, lib, dropout=0.0):
        self.net, self.lib, self.c = net, lib, net.c
        self.low = None
        self.pool = None
        if dropout:  # one run of random zeros and scales, read from a random place each time: drawing anew costs a tenth of a step
            self.pool = ((torch.rand(1 << 23) >= dropout).float() / (1 - dropout)).bfloat16()
        from model import rope_table

        self.rope = [t.contiguous() for t in rope_table(4 * self.c.context, self.c.hidden // self.c.heads, self.c.theta)]

    def refresh(self):
        """Takes the weights anew; to be called after each optimizer step."""
        with torch.no_grad():
            self.low = [
                (
                    torch.cat([l.q, l.k, l.v]).bfloat16(),
                    l.o.bfloat16(),
                    torch.cat([l.gate, l.up]).bfloat16(),
                    l.down.bfloat16(),
                )
                for l in self.net.layer
            ]
            self.embed = self.net.embed.bfloat16()

    def norm(self, x, add, w):
        n, h = x.shape
        out, rstd = torch.empty(n, h, dtype=torch.bfloat16), torch.empty(n)
        self.lib.add_norm(ptr(x), ptr(add), ptr(w.data), ptr(out), ptr(rstd), *size(n, h), ctypes.c_float(self.c.eps))
        return out, rstd

    def norm_back(self, dx, dout, x, rstd, w):
        n, h = x.shape
        low = torch.empty(n, h, dtype=torch.bfloat16)
        self.lib.norm_back(ptr(dx), ptr(dout), ptr(x), ptr(rstd), ptr(w.data), ptr(w.grad), ptr(low), *size(n, h))
        return low

    def attention(self, qkv, out, dout, b, t):
        d = self.c.hidden // self.c.heads
        r = self.lib.attention(ptr(qkv), ptr(out), ptr(dout), *map(ptr, self.rope), *size(b, t, self.c.heads, self.c.kv_heads, d))
        if r:
            raise MemoryError

    def drop(self, y):
        """(y with some of its values dropped, what it was multiplied with)"""
        if self.pool is None:
            return y, None
        at = int(torch.randint(len(self.pool) - y.numel(), ()))
        mask = self.pool[at : at + y.numel()].view_as(y)
        return y * mask, mask

    @torch.no_grad()
    def step(self, ids, weight):
        """(the losses, their weights) of ids[b, t + 1]; weight[b, t] belongs to predicting the token after."""
        c, net = self.c, self.net
        b, t = ids.shape[0], ids.shape[1] - 1
        n = b * t
        inputs = ids[:, :-1].reshape(-1)
        x, add, kept = net.embed.data[inputs], None, []
        for layer, (wqkv, wo, wgu, wd) in zip(net.layer, self.low):
            x = x.clone() if kept else x
            h1, r1 = self.norm(x, add, layer.attn_norm)
            qkv = h1 @ wqkv.t()
            a = torch.empty(n, c.hidden, dtype=torch.bfloat16)
            self.attention(qkv, a, None, b, t)
            x1 = x.clone()
            y, m1 = self.drop(a @ wo.t())
            h2, r2 = self.norm(x1, y, layer.ffn_norm)
            gu = h2 @ wgu.t()
            act = torch.empty(n, c.ffn, dtype=torch.bfloat16)
            self.lib.swiglu(ptr(gu), ptr(act), *size(n, c.ffn))
            add, m2 = self.drop(act @ wd.t())
            kept.append((x, h1, r1, qkv, a, x1, h2, r2, gu, act, m1, m2))
            x = x1
        x = x.clone()
        h, r = self.norm(x, add, net.norm)
        pick = weight.reshape(-1).nonzero()[:, 0]
        w = weight.reshape(-1)[pick].contiguous()
        hp, target = h[pick], ids[:, 1:].reshape(-1)[pick].contiguous()
        z, each = hp @ self.embed.t(), torch.empty(len(pick))
        self.lib.cross_entropy(ptr(z), ptr(target), ptr(w), ptr(each), *size(*z.shape))
        net.embed.grad += z.t() @ hp
        dh = torch.zeros(n, c.hidden, dtype=torch.bfloat16)
        dh[pick] = z @ self.embed
        dx = torch.zeros(n, c.hidden)
        low = self.norm_back(dx, dh, x, r, net.norm)
        kv = c.kv_heads * (c.hidden // c.heads)
        for layer, (wqkv, wo, wgu, wd) in zip(reversed(net.layer), reversed(self.low)):
            x, h1, r1, qkv, a, x1, h2, r2, gu, act, m1, m2 = kept.pop()
            low = low if m2 is None else low * m2
            layer.down.grad += low.t() @ act
            dact = low @ wd
            self.lib.swiglu_back(ptr(gu), ptr(dact), *size(n, c.ffn))
            g = gu.t() @ h2
            layer.gate.grad += g[: c.ffn]
            layer.up.grad += g[c.ffn :]
            low = self.norm_back(dx, gu @ wgu, x1, r2, layer.ffn_norm)
            low = low if m1 is None else low * m1
            layer.o.grad += low.t() @ a
            self.attention(qkv, None, low @ wo, b, t)
            g = qkv.t() @ h1
            layer.q.grad += g[: c.hidden]
            layer.k.grad += g[c.hidden : c.hidden + kv]
            layer.v.grad += g[c.hidden + kv :]
            low = self.norm_back(dx, qkv @ wqkv, x, r1, layer.attn_norm)
        net.embed.grad.index_add_(0, inputs, dx)
        return each, w
