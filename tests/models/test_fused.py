#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The fused CPU step against autograd: its gradients may differ from float32 ones no more than plain bfloat16 does."""
import os
import sys
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "models"))
try:
    import torch

    import fused
    import model
except ImportError:
    torch = None

LIBRARY = torch and fused.library()


@unittest.skipUnless(LIBRARY, "needs torch and a C compiler")
class Gradients(unittest.TestCase):
    def gradients(self, net, ids, weight, way):
        net.zero_grad()
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        if way == "fused":
            step = fused.Fused(net, LIBRARY)
            step.refresh()
            each, _ = step.step(ids, weight)
        else:
            total, each, _ = net.loss(ids, weight, way)
            total.backward()
        return each, {n: p.grad.clone() for n, p in net.named_parameters()}

    def check(self, config, rows, length):
        torch.manual_seed(3)
        net = model.Model(config).init(3)
        ids = torch.randint(0, config.vocab, (rows, length + 1))
        weight = torch.rand(rows, length) * (torch.rand(rows, length) < 0.4) / rows
        weight[0, 0] = 0.5
        exact_loss, exact = self.gradients(net, ids, weight, torch.float32)
        _, plain = self.gradients(net, ids, weight, torch.bfloat16)
        loss, quick = self.gradients(net, ids, weight, "fused")
        self.assertLess(float((loss - exact_loss).abs().max()), 0.1)
        for name, g in exact.items():
            error = float((quick[name] - g).norm() / g.norm())
            allowed = 1.5 * float((plain[name] - g).norm() / g.norm()) + 0.005
            self.assertLess(error, allowed, name)

    def test_a_small_model(self):
        self.check(model.Config(hidden=64, layers=2, heads=4, kv_heads=2, ffn=160, vocab=300), 5, 13)

    def test_odd_lengths(self):
        for length in (2, 4, 16, 17, 33):
            self.check(model.Config(hidden=64, layers=1, heads=2, kv_heads=1, ffn=96, vocab=300), 3, length)

    def test_dropout(self):
        """The same values dropped in both ways give the same gradients."""
        config = model.Config(hidden=64, layers=2, heads=4, kv_heads=2, ffn=160, vocab=300)
        torch.manual_seed(5)
        net = model.Model(config).init(5)
        ids, weight = torch.randint(0, 300, (4, 12)), torch.rand(4, 11) / 4
        step = fused.Fused(net, LIBRARY, 0.3)
        masks = [((torch.rand(44, 64) >= 0.3) / 0.7) for _ in range(4)]
        with mock.patch.object(model.F, "dropout", side_effect=lambda y, _: y * next(left).view_as(y).to(y.dtype)):
            left = iter(masks)
            exact_loss, exact = self.gradients(net, ids, weight, torch.float32)
        left = iter([m.bfloat16() for m in masks])
        step.drop = lambda y: (lambda m: (y * m, m))(next(left))
        with mock.patch.object(fused, "Fused", return_value=step):
            loss, quick = self.gradients(net, ids, weight, "fused")
        self.assertLess(float((loss - exact_loss).abs().max()), 0.1)
        for name, g in exact.items():
            self.assertLess(float((quick[name] - g).norm() / g.norm()), 0.05, name)
        share = float((fused.Fused(net, LIBRARY, 0.3).drop(torch.ones(400, 500).bfloat16())[0] == 0).float().mean())
        self.assertAlmostEqual(share, 0.3, delta=0.02)

    def test_the_shipped_shape(self):
        self.check(model.Config(layers=2, vocab=512, **{k: v for k, v in model.PRESETS["ulm-8m"].items() if k != "layers"}), 6, 40)


if __name__ == "__main__":
    unittest.main()
