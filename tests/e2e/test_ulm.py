# SPDX-License-Identifier: MIT
"""The commands of ulm: what they print, their exit status, one line for each mistake."""
import json
import os
import subprocess
import tempfile
import unittest

import harness

DATA = os.path.join(os.environ["ULMD_DATA"], "reference")
F32 = os.path.join(DATA, "tiny-f32.gguf")


def ulm(*args, text=None):
    return subprocess.run(harness.built(harness.ULM, *args), check=False, timeout=harness.WAIT,
                          encoding="utf-8", input=text or "", stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)


class Ulm(unittest.TestCase):
    def good(self, *args, text=None):
        done = ulm(*args, text=text)
        self.assertEqual((done.returncode, done.stderr), (0, ""), args)
        return done.stdout

    def test_info(self):
        out = self.good("info", F32)
        for line in ("architecture   llama", "vocabulary     304", "parameters     28320"):
            self.assertIn(line, out)

    def test_a_language_is_named_that_the_request_does_not_name(self):
        said = self.good("opener", "-m", harness.shipped_model(), "-",
                         text="как пройти к ближайшему метро\nΠού είναι το μουσείο;\n")
        self.assertRegex(said, "^.*Russian.*\n.*Greek.*\n$")

    def test_tokenize(self):
        self.assertEqual(self.good("tokenize", "-m", F32, "the way"), "[268,263,271]\n")
        self.assertEqual(self.good("tokenize", "-m", F32, "-", text="the way\n\nthe way"), "[268,263,271]\n[]\n[268,263,271]\n")
        plain = json.loads(self.good("tokenize", "-m", F32, "<|im_start|>a"))
        self.assertNotIn(1, plain)
        self.assertEqual(json.loads(self.good("tokenize", "-m", F32, "--special", "<|im_start|>a"))[0], 1)

    def test_logits_are_those_of_the_reference(self):
        with open(os.path.join(DATA, "logits.txt"), encoding="ascii") as lines:
            head, first = next(lines).split(), next(lines).split()
        logits = json.loads(self.good("logits", "-m", F32, "--ids", head[1]))
        self.assertEqual(head[0], "tiny-f32.gguf")
        self.assertLess(max(abs(a - float(b)) for a, b in zip(logits, first[1:], strict=True)), 1e-3)

    def test_generate(self):
        ids = json.loads(self.good("generate", "-m", F32, "--raw", "the way", "-n", "5", "--ids"))
        self.assertTrue(1 <= len(ids) <= 5)
        one = json.loads(self.good("generate", "-m", F32, "--raw", "the way", "-n", "5", "--ids", "--kernels", "scalar"))
        self.assertEqual(ids, one)

    def test_opener(self):
        out = json.loads(self.good("opener", "-m", F32, "--json", "--context", "It is noon", "what is the way"))
        self.assertEqual({"opener", "words", "confidence", "tokens", "prefill_ms", "total_ms"} - set(out), set())
        self.assertEqual(out["words"], len(out["opener"].split()))
        self.assertLessEqual(out["confidence"], 0)
        lines = self.good("opener", "-m", F32, "-", text="what\nthe way\n").splitlines()
        self.assertEqual(len(lines), 2)

    def test_bench(self):
        for last in ([], ["--json"]):
            out = json.loads(self.good("bench", "-m", F32, "-p", "8", "-n", "2", "-r", "3", *last))
            for name in ("prefill_tok_s", "decode_tok_s", "first_word_ms", "opener_ms"):
                self.assertGreater(out[name], 0, name)
            self.assertAlmostEqual(out["opener_ms"], out["opener"]["median_ms"])

    def test_quantize(self):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "q.gguf")
            self.good("quantize", F32, out, "Q8_0")
            self.assertIn("Q8_0           15", self.good("info", out))
            self.good("quantize", out, out, "f16")
            self.assertIn("F16            15", self.good("info", out))
            self.assertEqual(os.listdir(folder), ["q.gguf"])

    def test_mistakes(self):
        with tempfile.TemporaryDirectory() as folder:
            cut = os.path.join(folder, "cut.gguf")
            with open(F32, "rb") as whole, open(cut, "wb") as out:
                out.write(whole.read()[:40000])
            for args in (["info", "/nonexistent"], ["info", cut], ["info", "/dev/null"], ["info", folder],
                         ["opener", "-m", cut, "x"], ["opener", "-m", "/nonexistent", "x"], ["opener", "-m", F32, "x" * 20000],
                         ["quantize", F32, "/nonexistent/x", "F16"], ["opener", "-m", F32, "--kernels", "abacus", "x"]):
                done = ulm(*args)
                self.assertEqual(done.returncode, 1, args)
                self.assertRegex(done.stderr, r"\Aulm: .+\n\Z")
        for args in ([], ["sing"], ["info"], ["tokenize", "x"], ["opener", "-m", F32], ["logits", "-m", F32, "--ids", "9999"],
                     ["logits", "-m", F32, "--ids", "1,,2"], ["generate", "-m", F32, "--raw", ""], ["quantize", "a", "b", "Q5_K"],
                     ["opener", "-m", F32, "--min-words", "9", "x"], ["opener", "-m", F32, "--beam", "99", "x"]):
            done = ulm(*args)
            self.assertEqual((done.returncode, done.stdout), (2, ""), args)
            self.assertTrue(done.stderr.startswith("ulm: "), (args, done.stderr))


if __name__ == "__main__":
    harness.main()
