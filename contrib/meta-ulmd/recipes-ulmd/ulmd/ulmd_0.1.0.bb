# SPDX-License-Identifier: MIT
SUMMARY = "Answers that begin at once: a micro language model, continued by the cloud"
DESCRIPTION = "Writes the first words of an answer on the device, in milliseconds, and has a cloud \
model go on with that very sentence; three corrections repair the hand-off."
SECTION = "network"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=e4ff2f98c20be369dada90fa1f9e9e9a"

ULMD_SOURCE ?= "${THISDIR}/../../../.."
inherit externalsrc meson pkgconfig useradd systemd update-rc.d
EXTERNALSRC = "${ULMD_SOURCE}"
EXTERNALSRC_BUILD = "${WORKDIR}/build"

FILESEXTRAPATHS:prepend := "${THISDIR}/files:"
SRC_URI = "file://ulmd.init"

DEPENDS = "libuv curl cjson inih"
RRECOMMENDS:${PN} = "ca-certificates ulmd-model"

PACKAGECONFIG ??= "${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'systemd dbus', '', d)}"
PACKAGECONFIG[systemd] = "-Dsystemd=enabled,-Dsystemd=disabled,systemd"
PACKAGECONFIG[dbus] = "-Ddbus=enabled,-Ddbus=disabled,systemd"
PACKAGECONFIG[openblas] = "-Dopenblas=enabled,-Dopenblas=disabled,openblas"
EXTRA_OEMESON = "-Dtests=false"

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --no-create-home --home-dir / --shell /bin/false --user-group ulmd"

SYSTEMD_SERVICE:${PN} = "${@bb.utils.contains('PACKAGECONFIG', 'systemd', 'ulmd.socket', '', d)}"
SYSTEMD_AUTO_ENABLE = "enable"
INITSCRIPT_NAME = "ulmd"
INITSCRIPT_PARAMS = "defaults 80"

do_install:append() {
    if ${@bb.utils.contains('PACKAGECONFIG', 'systemd', 'false', 'true', d)}; then
        install -Dm 0755 ${WORKDIR}/ulmd.init ${D}${sysconfdir}/init.d/ulmd
    fi
}

PACKAGES =+ "${PN}-tools libulmd-client"
FILES:${PN}-tools = "${bindir}/ulm ${bindir}/ulmctl ${datadir}/bash-completion ${datadir}/zsh"
FILES:libulmd-client = "${libdir}/libulmd-client.so.*"
FILES:${PN} += "${nonarch_libdir}/systemd ${nonarch_libdir}/sysusers.d ${datadir}/dbus-1 ${datadir}/ulmd"
CONFFILES:${PN} = "${sysconfdir}/ulmd/ulmd.conf"
