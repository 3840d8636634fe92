# SPDX-License-Identifier: MIT
"""The unit files: systemd reads them without a complaint, and the service is as closed as promised."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

UNITS = os.environ["UNITS"]    # the build folder's systemd/
SOURCE = os.environ["SOURCE"]  # the source's systemd/
ULMD = os.environ["ULMD"]
CONF = os.environ["CONF"]
EXPOSURE = "15"                # tenths: 1.5


def analyze(*args, **kwargs):
    return subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, timeout=60,
                          **kwargs)


class Units(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="ulmd-units-")
        for kind, folder in ("system", ""), ("user", "user"):
            os.mkdir(os.path.join(self.dir.name, kind))
            with open(os.path.join(UNITS, kind + "-ulmd.service"), encoding="utf-8") as file:
                text = file.read()
            self.assertEqual(text.count("/bin/ulmd"), 1, "ExecStart is not the installed daemon")
            text = "\n".join("ExecStart=" + ULMD if line.startswith("ExecStart=") else line
                             for line in text.splitlines()) + "\n"
            with open(self.path(kind, "ulmd.service"), "w", encoding="utf-8") as file:
                file.write(text)
            shutil.copy(os.path.join(SOURCE, folder, "ulmd.socket"), self.path(kind, "ulmd.socket"))

    def tearDown(self):
        self.dir.cleanup()

    def path(self, kind, name):
        return os.path.join(self.dir.name, kind, name)

    def test_system_units_verify(self):
        result = analyze("verify", "--man=no", self.path("system", "ulmd.service"),
                         self.path("system", "ulmd.socket"))
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_user_units_verify(self):
        result = analyze("--user", "verify", "--man=no", self.path("user", "ulmd.service"),
                         self.path("user", "ulmd.socket"),
                         env=dict(os.environ, XDG_RUNTIME_DIR=self.dir.name, HOME=self.dir.name))
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_exposure(self):
        result = analyze("security", "--no-pager", "--offline=true", "--threshold=" + EXPOSURE,
                         self.path("system", "ulmd.service"))
        print(result.stdout.strip().splitlines()[-1])
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_what_must_stay(self):
        with open(self.path("system", "ulmd.service"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        for line in ("Type=notify", "LoadCredential=ulmd.cloud-key", "User=ulmd", "StateDirectory=ulmd",
                     "SystemCallFilter=sched_setaffinity"):
            self.assertIn(line, lines)
        keys = [line.split("=")[0] for line in lines]
        self.assertIn("WatchdogSec", keys)
        self.assertNotIn("RuntimeDirectory", keys)  # the socket unit owns /run/ulmd
        self.assertNotIn("PrivateUsers", keys)      # peers' uids would be hidden

    @unittest.skipUnless(os.geteuid() == 0, "systemd-sysusers --root needs root")
    def test_sysusers(self):
        root = os.path.join(self.dir.name, "root")
        os.makedirs(os.path.join(root, "etc"))
        result = subprocess.run(["systemd-sysusers", "--root=" + root,
                                 os.path.join(SOURCE, "ulmd.sysusers")], capture_output=True, text=True,
                                timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        for name in "passwd", "group":
            with open(os.path.join(root, "etc", name), encoding="utf-8") as file:
                self.assertIn("ulmd:", file.read())

    def test_dbus_files_agree(self):
        with open(os.path.join(CONF, "org.ulmd.Assistant1.service"), encoding="utf-8") as file:
            text = file.read()
        self.assertIn("\nSystemdService=ulmd.service\n", text)
        self.assertIn("\nName=org.ulmd.Assistant1\n", text)
        with open(self.path("system", "ulmd.service"), encoding="utf-8") as file:
            self.assertIn("\nBusName=org.ulmd.Assistant1\n", file.read())


if __name__ == "__main__":
    if not shutil.which("systemd-analyze"):
        print("NOT TESTED: systemd-analyze is missing (scripts/deps test installs it)", file=sys.stderr)
        sys.exit(77)
    unittest.main(verbosity=2)
