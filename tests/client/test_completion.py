# SPDX-License-Identifier: MIT
"""The completions in the shells they are for. All three programs in one shell, one after the other:
what the first leaves behind must not be in the way of the next."""
import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time
import unittest

FOLDER = os.path.join(os.environ["ROOT"], "contrib", "completion")
WAIT = 60
# what is typed, what is offered then
ASKED = (
    ("ulmctl ", "ask status watch hello reset"),
    ("ulmctl ask --", "--json --session --medium --context --deadline-ms --socket"),
    ("ulmctl ask --medium ", "display speech"),
    ("ulmctl --socket x status --", "--json --prometheus"),
    ("ulm ", "info tokenize logits opener generate quantize bench"),
    ("ulm info ", "one.gguf two.gguf"),
    ("ulm bench -m one.gguf --kernels ", "auto scalar avx2 avx512 neon dotprod"),
    ("ulm quantize one.gguf out ", "F32 F16 Q8_0 Q4_0"),
    ("ulmd --", "--config --model --socket --check-config --version --help"),
    ("ulmd --config one", "one.gguf one.conf"),
    ("ulmctl watch --", "--interval --count --socket"),
    ("ulmctl reset --", "--json --socket"),
)


class Completion(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name in ("one.gguf", "two.gguf", "one.conf"):
            with open(os.path.join(self.folder, name), "wb"):
                pass

    def test_bash(self):
        script = f". {FOLDER}/ulmctl.bash\n"
        for line, _ in ASKED:
            words = line.split(" ")
            script += f"COMP_WORDS=({' '.join(w or repr('') for w in words)})\n" \
                f"COMP_CWORD={len(words) - 1}\n_{words[0]}\necho \"${{COMPREPLY[*]}}\"\n"
        done = subprocess.run(["bash", "--norc", "-c", script], cwd=self.folder, check=True, timeout=WAIT,
                              stdout=subprocess.PIPE, text=True)
        for (line, expected), offered in zip(ASKED, done.stdout.splitlines(), strict=True):
            self.assertLessEqual(set(expected.split()), set(offered.split()), line)

    @unittest.skipUnless(shutil.which("zsh"), "NOT TESTED: zsh is missing (scripts/deps test)")
    def test_zsh(self):
        pid, self.shell = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execvpe("zsh", ["zsh", "-f"], {**os.environ, "TERM": "dumb", "COLUMNS": "80"})
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.close, self.shell)
        # Only once it shows its prompt does the shell's editor have the keys; before, ^D is the terminal's.
        self.type("PS1=at''hand; unsetopt zle_bracketed_paste 2>/dev/null\n"
                  f"fpath=({FOLDER} $fpath); autoload -U compinit; compinit -D -u\n"
                  "setopt no_always_last_prompt; LISTMAX=1000; echo rea''dy\n")
        self.read_until("ready", prompt=True)
        for line, expected in ASKED:
            # ^D lists, ^U takes the line away
            self.type(line + "\x04")
            self.read_until(*expected.split())
            self.type("\x15\n:; echo ne''xt\n")
            self.read_until("next", prompt=True)

    def type(self, text):
        os.write(self.shell, text.encode())

    def read_until(self, *words, prompt=False):
        """Reads until all words were shown and, with `prompt`, the prompt behind the last of them."""
        shown, until = "", time.monotonic() + WAIT
        while not set(words) <= set(re.split(r"[\s/\x1b]+", shown)) or \
                prompt and "athand" not in shown[shown.rindex(words[-1]):]:
            ready, _, _ = select.select([self.shell], [], [], max(0, until - time.monotonic()))
            self.assertTrue(ready, f"{words} are not in {shown!r}")
            shown += os.read(self.shell, 65536).decode("utf-8", "replace")


if __name__ == "__main__":
    unittest.main()
