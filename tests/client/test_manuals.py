# SPDX-License-Identifier: MIT
"""The manual pages and completions against what the programs themselves say."""
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.environ["ROOT"]
WRAP = shlex.split(os.environ.get("ULMD_WRAP", ""))  # a command put before the built programs
ALIASES = {"model", "threads", "cores", "kernels", "prompt", "tokens", "runs"}  # of one letter
FOREIGN = {"ulm": {"version", "help"}, "ulmctl": set(), "main": set()}  # which getopt does not see
PAGES = sorted(os.listdir(os.path.join(ROOT, "docs", "man")))
CHOICES = {"dbus", "log_level", "threads", "cores", "kernels", "words", "dialect",
           "mode", "allow"}
SECTIONS = ["daemon", "model", "opener", "cloud", "deadlines", "corrections", "sessions"]


def page(name):
    """A manual page as this build installs it."""
    with open(os.path.join(os.environ["MAN"], name), encoding="utf-8") as file:
        return file.read()


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def built(program, *args):
    return run(*WRAP, os.environ[program], *args)


def options(text):
    return set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", text))


def plain(roff):
    """The words of a manual page, without its markup."""
    return " ".join(re.sub(r"^\.\w+|\b(?:Cm|Fl|Ar|Pq|Ev|Pa|Ql|Dq|Em)\b|[,.|]", " ", roff,
                           flags=re.M).split())


class Manuals(unittest.TestCase):
    def assert_options(self, program, name):
        told = options(built(program, "--help").stdout)
        self.assertTrue(told)
        text = page(name)
        for option in told:
            self.assertIn("Fl -" + option, text, f"{name} does not tell of --{option}")
        for option in re.findall(r"Fl -([a-z][a-z-]*)", text):
            self.assertIn(option, told | {"config", "check-config"}, f"{name} tells of --{option}")

    def test_the_paths_of_this_build(self):
        """Pages name the places that the built program looks at, and no other."""
        with open(os.environ["ULMD"], "rb") as file:
            program = file.read()
        conf, data = os.environ["CONFDIR"], os.environ["DATADIR"]
        self.assertIn(b"\0" + conf.encode() + b"/ulmd.conf\0", program)
        self.assertIn(b"\0" + data.encode() + b"\0", program)
        self.assertIn(f"\n.Pa {conf}/ulmd.conf\n.br\n.Pa {conf}/ulmd.conf.d/*.conf\n", page("ulmd.conf.5"))
        self.assertIn(f"\npath = {data}/", page("ulmd.conf.5"))
        self.assertIn(f"\n.It Pa {conf}/ulmd.conf ,", page("ulmd.8"))
        self.assertIn(f"\n.It Pa {data}/\n", page("ulmd.8"))
        for name in PAGES:
            for path in re.findall(r"(?:/usr)?(?:/local)?/(?:etc|share)/(?:doc/)?ulmd\b|@\w+@", page(name)):
                self.assertIn(path, (conf, data, data.replace("/ulmd", "/doc/ulmd")), name)

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

    def test_every_option_that_is_parsed(self):
        """Those that --help does not name included: the tables given to getopt."""
        pages = {"ulm": "ulm.1", "ulmctl": "ulmctl.1", "main": "ulmd.8"}
        for folder, start in ("tools", "ulm"), ("tools", "ulmctl"), ("", "main"):
            text, found = page(pages[start]), set()
            source = os.path.join(ROOT, "src", folder)
            for name in os.listdir(source):
                if re.fullmatch(start + r"([-_]\w+)?\.c", name):
                    with open(os.path.join(source, name), encoding="utf-8") as file:
                        found |= set(re.findall(r'\{"([a-z-]+)", (?:no|required|optional)_argument',
                                                file.read()))
            self.assertTrue(found)
            for option in found - ALIASES:
                self.assertIn("Fl -" + option, text, f"{pages[start]} does not tell of --{option}")
            for option in re.findall(r"Fl -([a-z][a-z-]*)", text):
                self.assertIn(option, found | FOREIGN[start], f"{pages[start]} tells of --{option}")

    def test_the_runs_of_a_bench(self):
        """Its default, as ulm(1) tells it."""
        told = re.search(r"\.Fl r\nruns \((\d+)\)", page("ulm.1")).group(1)
        model = os.path.join(ROOT, "tests", "data", "reference", "tiny-q8_0.gguf")
        ran = json.loads(built("ULM", "bench", "-m", model, "-p", "4", "-n", "1").stdout)
        self.assertEqual(str(ran["prefill"]["runs"]), told)

    def refused(self, section, line):
        """What the daemon says of a configuration of this one line."""
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write(f"[{section}]\n{line}\n")
            file.flush()
            result = built("ULMD", "--config", file.name, "--check-config")
            return result.stderr.replace(file.name, "FILE")

    def conf_parts(self):
        return dict(re.findall(r"\.Ss \[([a-z]+)\](.*?)(?=\n\.S[sh])", page("ulmd.conf.5"), re.S))

    def keys_of(self, section):
        said = self.refused(section, "no_such_key = 1")
        self.assertIn("FILE:2", said)
        return said.rsplit("allowed are ", 1)[1].split()

    def test_every_key_of_the_configuration(self):
        for section, part in self.conf_parts().items():
            told = re.findall(r"[a-z_]+", " ".join(re.findall(r"^\.It (.*)$", part, re.M)))
            for key in self.keys_of(section):
                self.assertIn(key, told, f"[{section}]")
        self.assertEqual(sorted(self.conf_parts()), sorted(SECTIONS))

    def test_what_is_allowed(self):
        """What the daemon says is allowed for a key stands in the key's paragraph."""
        for section, part in self.conf_parts().items():
            head, *items = re.split(r"^\.It ", part, flags=re.M)
            for key in self.keys_of(section):
                item, = [i for i in items if re.search(r"\b%s\b" % key, i.splitlines()[0])]
                allowed = re.search(r"FILE:2: \[\w+\] \w+: must be (.*)",
                                    self.refused(section, key + " = ~"))
                if not allowed or allowed.group(1) == "yes or no":  # that is told of all of them
                    continue
                text, rule = plain(head + item), allowed.group(1)
                for span in re.findall(r"-?\d+ to \d+", rule):
                    self.assertIn(span, text, f"[{section}] {key}")
                if key in CHOICES:
                    for word in re.findall(r"[a-z0-9-]{3,}", rule):
                        self.assertIn(word, text, f"[{section}] {key}: {rule}")

    def test_defaults(self):
        """Those of ulmd.conf(5) are those of the shipped file, which the unit tests hold against
        the program's."""
        with open(os.path.join(ROOT, "conf", "ulmd.conf"), encoding="utf-8") as file:
            shipped = re.split(r"^;?\[([a-z]+)\]$", file.read(), flags=re.M)
        shipped = dict(zip(shipped[1::2], shipped[2::2]))
        for section, part in self.conf_parts().items():
            values = dict(re.findall(r"^;(\w+) = ?(.*)$", shipped[section], re.M))
            self.assertEqual(sorted(values), sorted(self.keys_of(section)), f"[{section}]")
            heads = " , ".join(re.findall(r"^\.It (.*)$", part, re.M)).replace("\\(dq", '"')
            told = dict(re.findall(r"(\w+) Pq (.*?)(?:: .*)?$", head)[0]
                        for head in heads.split(" , ") if " Pq " in head)
            self.assertTrue(told)
            for key, value in told.items():
                self.assertEqual(value, values[key], f"[{section}] {key}")

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
        for name in PAGES:
            result = run("mandoc", "-T", "lint", "-W", "warning", os.path.join(os.environ["MAN"], name))
            self.assertEqual((result.stdout, result.returncode), ("", 0))


if __name__ == "__main__":
    unittest.main()
