# SPDX-License-Identifier: MIT
"""The manual pages and completions against what the programs themselves say."""
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.environ["ROOT"]
WRAP = shlex.split(os.environ.get("ULMD_WRAP", ""))  # a command put before the built programs
SECTIONS = ["daemon", "model", "opener", "cloud", "deadlines", "corrections", "sessions"]


def page(name):
    with open(os.path.join(ROOT, "docs", "man", name), encoding="utf-8") as file:
        return file.read()


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def built(program, *args):
    return run(*WRAP, os.environ[program], *args)


def options(text):
    return set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", text))


class Manuals(unittest.TestCase):
    def assert_options(self, program, name):
        told = options(built(program, "--help").stdout)
        self.assertTrue(told)
        text = page(name)
        for option in told:
            self.assertIn("Fl -" + option, text, f"{name} does not tell of --{option}")
        for option in re.findall(r"Fl -([a-z][a-z-]*)", text):
            self.assertIn(option, told | {"config", "check-config"}, f"{name} tells of --{option}")

    def test_options(self):
        self.assert_options("ULMD", "ulmd.8")
        self.assert_options("ULMCTL", "ulmctl.1")

    def test_commands_of_ulm(self):
        told = built("ULM", "--help").stdout
        text = page("ulm.1")
        for command in re.findall(r"^  ulm ([a-z]+) ", told, re.M):
            self.assertIn(f"\n.It Cm {command}\n", text)
        for option in options(told) - {"version", "help"}:
            self.assertIn("Fl -" + option, text)

    def test_every_key_of_the_configuration(self):
        text = page("ulmd.conf.5")
        parts = dict(re.findall(r"\.Ss \[([a-z]+)\](.*?)(?=\n\.S[sh])", text, re.S))
        for section in SECTIONS:
            with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
                file.write(f"[{section}]\nno_such_key = 1\n")
                file.flush()
                result = built("ULMD", "--config", file.name, "--check-config")
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"{file.name}:2", result.stderr)
            keys = result.stderr.rsplit("allowed are ", 1)[1].split()
            told = re.findall(r"[a-z_]+", " ".join(re.findall(r"^\.It (.*)$", parts[section], re.M)))
            for key in keys:
                self.assertIn(key, told, f"[{section}]")

    def test_every_function_of_the_library(self):
        with open(os.path.join(ROOT, "src", "client", "libulmd-client.map"), encoding="utf-8") as file:
            exported = set(re.findall(r"ulm_client_\w+", file.read()))
        text = page("libulmd-client.3")
        self.assertEqual(exported, set(re.findall(r"^\.F[no] (ulm_client_\w+)(?= \"|$)", text, re.M)) & exported)
        self.assertEqual(exported, set(re.findall(r"^\.Nm (ulm_client_\w+)", text, re.M)))
        with open(os.path.join(ROOT, "include", "ulmd", "client.h"), encoding="utf-8") as file:
            declared = set(re.findall(r"\b(ulm_client_\w+)\(", file.read())) - {"ulm_client_handler"}
        self.assertEqual(exported, declared)

    def test_every_event_and_request(self):
        with open(os.path.join(ROOT, "docs", "protocol.md"), encoding="utf-8") as file:
            prose = file.read()
        for text in page("ulmd-protocol.7"), prose:
            for word in ("ask draft played cancel reset status hello opener opened repair retract delta "
                         "notice done error ok bad_request too_long busy not_found no_model denied internal "
                         "complete truncated refused local cancelled superseded").split():
                self.assertRegex(text, r"\b%s\b" % word)

    def test_completion(self):
        told = options(built("ULMCTL", "--help").stdout) \
            | options(built("ULMD", "--help").stdout) | options(built("ULM", "--help").stdout)
        for name in "ulmctl.bash", "_ulmctl":
            with open(os.path.join(ROOT, "contrib", "completion", name), encoding="utf-8") as file:
                text = file.read()
            for option in told:
                self.assertIn("--" + option, text, name)

    @unittest.skipUnless(shutil.which("mandoc"), "NOT TESTED: mandoc is missing (scripts/deps test)")
    def test_lint(self):
        folder = os.path.join(ROOT, "docs", "man")
        for name in sorted(os.listdir(folder)):
            result = run("mandoc", "-T", "lint", "-W", "warning", os.path.join(folder, name))
            self.assertEqual((result.stdout, result.returncode), ("", 0))


if __name__ == "__main__":
    unittest.main()
