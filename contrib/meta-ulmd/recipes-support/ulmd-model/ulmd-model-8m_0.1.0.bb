# SPDX-License-Identifier: MIT
SUMMARY = "The micro language model of 8 million parameters that ulmd writes openers with"
SECTION = "net"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=e4ff2f98c20be369dada90fa1f9e9e9a"

inherit allarch externalsrc

EXTERNALSRC ?= "${ULMD_TREE}"
EXTERNALSRC_SYMLINKS = ""

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0644 ${S}/models/ulm-8m-q8_0.gguf ${D}${datadir}/ulmd/ulm-8m-q8_0.gguf
    # Names the file in [model]. What is read later wins: a file 60-*.conf may name another.
    install -D -m 0644 ${S}/debian/50-model-8m.conf ${D}${sysconfdir}/ulmd/ulmd.conf.d/50-model-8m.conf
}

FILES:${PN} = "${datadir}/ulmd ${sysconfdir}/ulmd"
CONFFILES:${PN} = "${sysconfdir}/ulmd/ulmd.conf.d/50-model-8m.conf"
