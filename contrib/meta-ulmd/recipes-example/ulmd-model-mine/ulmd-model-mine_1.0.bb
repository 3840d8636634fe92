# SPDX-License-Identifier: MIT
# To be copied to a layer of your own: a model that was trained or imported as models/README.md
# shows, as files/mine-q8_0.gguf beside this recipe.
SUMMARY = "Our own openers"
LICENSE = "CLOSED"

inherit allarch

SRC_URI = "file://mine-q8_0.gguf file://60-model-mine.conf"
# Releases before styhead have no UNPACKDIR.
SRC_FILES = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"
S = "${SRC_FILES}"

do_install() {
    install -D -m 0644 ${SRC_FILES}/mine-q8_0.gguf ${D}${datadir}/ulmd/mine-q8_0.gguf
    install -D -m 0644 ${SRC_FILES}/60-model-mine.conf \
        ${D}${sysconfdir}/ulmd/ulmd.conf.d/60-model-mine.conf
}

FILES:${PN} = "${datadir}/ulmd ${sysconfdir}/ulmd"
