# SPDX-License-Identifier: MIT
"""Certificates for the tests, made anew for each run by the openssl program."""
import base64
import hashlib
import os
import ssl
import subprocess


class Certificates:
    """An authority and three server certificates: good, expired, elsewhere (another host)."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = self._path("ca.pem")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-keyout", self._path("ca.key"), "-out", self.ca,
                      "-days", "2", "-subj", "/CN=test authority")
        self._write("ca.conf", f"""
[ca]
default_ca = here
[here]
database = {self._path('index')}
new_certs_dir = {folder}
serial = {self._path('serial')}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
""")
        self._write("index", "")
        self._write("serial", "01\n")
        self._make("good", "localhost", "20200101000000Z", "20991231000000Z")
        self._make("expired", "localhost", "20200101000000Z", "20200201000000Z")
        self._make("elsewhere", "elsewhere.test", "20200101000000Z", "20991231000000Z")

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _write(self, name, text):
        with open(self._path(name), "w", encoding="ascii") as file:
            file.write(text)

    def _openssl(self, *args):
        return subprocess.run(["openssl", *args], check=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout

    def _make(self, name, host, start, end):
        key, request = self._path(name + ".key"), self._path(name + ".csr")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", key, "-out", request, "-subj", f"/CN={host}")
        self._write(name + ".ext", f"subjectAltName = DNS:{host}\n")
        self._openssl("ca", "-batch", "-config", self._path("ca.conf"), "-cert", self.ca,
                      "-keyfile", self._path("ca.key"), "-in", request, "-notext",
                      "-out", self._path(name + ".pem"), "-startdate", start, "-enddate", end,
                      "-extfile", self._path(name + ".ext"))

    def context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._path(name + ".pem"), self._path(name + ".key"))
        return context

    def pin(self, name):
        """The public key as libcurl wants it pinned."""
        public = self._openssl("x509", "-in", self._path(name + ".pem"), "-pubkey", "-noout")
        path = self._path(name + ".pub")
        with open(path, "wb") as file:
            file.write(public)
        der = self._openssl("pkey", "-pubin", "-in", path, "-outform", "DER")
        return "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()
