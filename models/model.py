# SPDX-License-Identifier: MIT
"""The model: a Llama-shaped decoder with tied embeddings, RMSNorm, rotary positions (halves rotated), grouped-query
attention and SwiGLU. Rows of a batch are equally long, or padded at their end only; attention is causal."""
import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn

@dataclasses.dataclass
class Config:
    hidden: int = 256
    layers: int = 8
    heads: int = 8
    kv_heads: int = 2
    ffn: int = 704
    vocab: int = 8192
    theta: float = 10000.0
    eps: float = 1e-5
    context: int = 512


PRESETS = {
    "tiny": dict(hidden=64, layers=2, heads=4, kv_heads=2, ffn=160),
    "ulm-8m": dict(hidden=256, layers=8, heads=8, kv_heads=2, ffn=704),
    "ulm-16m": dict(hidden=384, layers=8, heads=6, kv_heads=2, ffn=1024),
    "ulm-28m": dict(hidden=512, layers=8, heads=8, kv_heads=2, ffn=1408, theta=1e6),
}


def rope_table(length, dim, theta, device=None):
    freq = theta ** (-torch.arange(0, dim, 2, device=device).float() / dim)
    angle = torch.arange(length, device=device).float()[:, None] * freq
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def rms_norm(x, w, eps):
    y = x.float()
    return y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps) * w


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c.hidden // c.heads
        self.c, self.d = c, d
        self.attn_norm = nn.Parameter(torch.ones(c.hidden))
        self.ffn_norm = nn.Parameter(torch.ones(c.hidden))
        self.q = nn.Parameter(torch.empty(c.heads * d, c.hidden))
        self.k = nn.Parameter(torch.empty(c.kv_heads * d, c.hidden))
        self.v = nn.Parameter(torch.empty(c.kv_heads * d, c.hidden))
        self.o = nn.Parameter(torch.empty(c.hidden, c.heads * d))
        self.gate = nn.Parameter(torch.empty(c.ffn, c.hidden))
        self.up = nn.Parameter(torch.empty(c.ffn, c.hidden))
        self.down = nn.Parameter(torch.empty(c.hidden, c.ffn))

    def attention(self, q, k, v, past):
        c = self.c
        if past is None and hasattr(F, "scaled_dot_product_attention"):
            k, v = (t.repeat_interleave(c.heads // c.kv_heads, 1) for t in (k, v))
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        n, t = k.shape[2], q.shape[2]
        b = q.shape[0]
        q = q.reshape(b, c.kv_heads, -1, self.d)
        score = (q @ k.transpose(-1, -2)).float() / math.sqrt(self.d)
        score = score.view(b, c.heads, t, n)
        ahead = torch.ones(t, n, dtype=torch.bool, device=q.device).triu(1 + n - t)
        p = score.masked_fill(ahead, float("-inf")).softmax(-1).to(q.dtype)
        return (p.view(b, c.kv_heads, -1, n) @ v).reshape(b, c.heads, t, self.d)

    def forward(self, x, rope, dtype, past=None, dropout=0.0):
        c = self.c
        b, t, _ = x.shape
        h = rms_norm(x, self.attn_norm, c.eps).to(dtype)
        w = torch.cat([self.q, self.k, self.v]).to(dtype)
        qkv = F.linear(h, w).float().view(b, t, -1, self.d).transpose(1, 2)
        qk = rotate(qkv[:, : c.heads + c.kv_heads], *rope).to(dtype)
        q, k = qk.split([c.heads, c.kv_heads], 1)
        v = qkv[:, c.heads + c.kv_heads :].to(dtype)
        if past is not None:
            if "k" in past:
                k, v = torch.cat([past["k"], k], 2), torch.cat([past["v"], v], 2)
            past["k"], past["v"] = k, v
        a = self.attention(q, k, v, past).transpose(1, 2).reshape(b, t, -1)
        x = x + F.dropout(F.linear(a, self.o.to(dtype)), dropout)
        h = rms_norm(x, self.ffn_norm, c.eps).to(dtype)
        g = F.linear(h, self.gate.to(dtype)).float()
        u = F.linear(h, self.up.to(dtype)).float()
        return x + F.dropout(F.linear((F.silu(g) * u).to(dtype), self.down.to(dtype)), dropout)


class WeightedCrossEntropy(torch.autograd.Function):
    """Cross entropy whose gradient is made in the forward pass: one pass over the logits, kept in their own type."""

    @staticmethod
    def forward(ctx, logits, target, weight):
        z = logits.float()
        lse = z.logsumexp(-1, keepdim=True)
        each = (lse - z.gather(1, target[:, None]))[:, 0]
        grad = (z - lse).exp_()
        grad.scatter_add_(1, target[:, None], grad.new_full((len(target), 1), -1.0))
        ctx.save_for_backward(grad.mul_(weight[:, None]).to(logits.dtype))
        ctx.mark_non_differentiable(each)
        return (each * weight).sum(), each

    @staticmethod
    def backward(ctx, dtotal, deach):
        return ctx.saved_tensors[0] * dtotal.to(ctx.saved_tensors[0].dtype), None, None


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed = nn.Parameter(torch.empty(c.vocab, c.hidden))
        self.layer = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = nn.Parameter(torch.ones(c.hidden))
        self.rope = None

    def init(self, seed):
        gen = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                std = 0.02 if name == "embed" else 1 / math.sqrt(p.shape[1])
                if name.endswith((".o", ".down")):
                    std /= math.sqrt(2 * self.c.layers)
                p.data.normal_(0, std, generator=gen)
        return self

    def hidden_states(self, ids, dtype=torch.float32, past=None, dropout=0.0):
        """Normed states [rows, length, hidden]; with `past` (a list of dicts) keys and values are kept there."""
        start = past[0]["k"].shape[2] if past and "k" in past[0] else 0
        if self.rope is None or self.rope[0].shape[0] < start + ids.shape[1] or self.rope[0].device != ids.device:
            self.rope = rope_table(max(self.c.context, start + ids.shape[1]), self.layer[0].d, self.c.theta, ids.device)
        rope = tuple(r[start : start + ids.shape[1]] for r in self.rope)
        x = F.embedding(ids, self.embed).float()
        for i, layer in enumerate(self.layer):
            x = layer(x, rope, dtype, None if past is None else past[i], dropout)
        return rms_norm(x, self.norm, self.c.eps)

    def loss(self, ids, weight, dtype, dropout=0.0):
        """(weighted sum of next-token losses, the losses, their weights); weight[i, j] is for predicting ids[i, j + 1]."""
        h = self.hidden_states(ids[:, :-1], dtype, dropout=dropout).reshape(-1, self.c.hidden)
        pick = weight.reshape(-1).nonzero()[:, 0]
        w = weight.reshape(-1)[pick]
        logits = F.linear(h[pick].to(dtype), self.embed.to(dtype))
        total, each = WeightedCrossEntropy.apply(logits, ids[:, 1:].reshape(-1)[pick], w)
        return total, each, w

    def logits(self, ids, past=None):
        return F.linear(self.hidden_states(ids, past=past)[:, -1], self.embed)
