# SPDX-License-Identifier: MIT
SUMMARY = "The micro language model that ulmd writes openers with"
SECTION = "network"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=e4ff2f98c20be369dada90fa1f9e9e9a"

ULMD_SOURCE ?= "${THISDIR}/../../../.."
# 8m, or 28m for devices with cores to spare; or a file of one's own: ULMD_MODEL_FILE.
ULMD_MODEL ?= "8m"
ULMD_MODEL_FILE ?= "${S}/models/ulm-${ULMD_MODEL}-q8_0.gguf"

inherit externalsrc allarch
EXTERNALSRC = "${ULMD_SOURCE}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    name=$(basename "${ULMD_MODEL_FILE}")
    install -Dm 0644 "${ULMD_MODEL_FILE}" "${D}${datadir}/ulmd/$name"
    install -d ${D}${sysconfdir}/ulmd/ulmd.conf.d
    printf '[model]\npath = %s\n' "${datadir}/ulmd/$name" > ${D}${sysconfdir}/ulmd/ulmd.conf.d/50-model.conf
}

FILES:${PN} = "${datadir}/ulmd ${sysconfdir}/ulmd"
CONFFILES:${PN} = "${sysconfdir}/ulmd/ulmd.conf.d/50-model.conf"
