# SPDX-License-Identifier: MIT
SUMMARY = "Answers that begin at once: a micro language model, continued by the cloud"
DESCRIPTION = "A daemon for smart glasses and other small devices. It writes the first words of \
an answer itself, in milliseconds, and has a cloud model go on with that very sentence."
SECTION = "net"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=e4ff2f98c20be369dada90fa1f9e9e9a"

DEPENDS = "libuv curl cjson libinih"

inherit meson pkgconfig systemd update-rc.d useradd externalsrc

# The tree around this layer, see conf/layer.conf. To fetch it instead, a bbappend sets
# EXTERNALSRC = "", SRC_URI and SRCREV.
EXTERNALSRC ?= "${ULMD_TREE}"
EXTERNALSRC_SYMLINKS = ""

# Where there is no systemd there is no libsystemd, and so no D-Bus either: the socket serves.
PACKAGECONFIG ??= "${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'systemd dbus', 'sysvinit', d)}"
PACKAGECONFIG[systemd] = "-Dsystemd=enabled,-Dsystemd=disabled,systemd"
PACKAGECONFIG[dbus] = "-Ddbus=enabled,-Ddbus=disabled,systemd,,dbus"
PACKAGECONFIG[sysvinit] = ""
# For F32 models alone, and opened at run time. Neither core nor meta-oe has a recipe of that name.
PACKAGECONFIG[openblas] = "-Dopenblas=enabled,-Dopenblas=disabled,openblas,,libopenblas"

EXTRA_OEMESON = "-Dtests=false"

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system ulmd"
USERADD_PARAM:${PN} = "--system --gid ulmd --no-create-home --home-dir / --shell /sbin/nologin ulmd"

# The socket is what runs from the start; the service comes with the first question.
SYSTEMD_SERVICE:${PN} = "ulmd.socket"
INITSCRIPT_NAME = "ulmd"
INITSCRIPT_PARAMS = "defaults 80 20"
# update-rc.d asks for no script that is not there.
INHIBIT_UPDATERCD_BBCLASS = "${@bb.utils.contains('PACKAGECONFIG', 'sysvinit', '', '1', d)}"

do_install:append() {
    install -d -m 0755 ${D}${sysconfdir}/ulmd/ulmd.conf.d
    if ${@bb.utils.contains('PACKAGECONFIG', 'sysvinit', 'true', 'false', d)}; then
        install -D -m 0755 ${S}/contrib/meta-ulmd/recipes-support/ulmd/files/ulmd.init \
            ${D}${sysconfdir}/init.d/ulmd
    fi
}

# In front of ulmd-dev and ulmd, which would take the files first.
PACKAGES =+ "libulmd-client-dev libulmd-client ulm-tools"

FILES:${PN} += " \
    ${datadir}/dbus-1 \
    ${nonarch_libdir}/sysusers.d \
    ${systemd_system_unitdir} \
    ${systemd_user_unitdir} \
"
CONFFILES:${PN} = "${sysconfdir}/ulmd/ulmd.conf"
# Certificates for https, and a model: either may be left out by an image that brings its own.
RRECOMMENDS:${PN} = "ca-certificates ulmd-model-8m"

SUMMARY:ulm-tools = "Ask ulmd and watch it from a shell; work on model files"
FILES:ulm-tools = " \
    ${bindir}/ulm \
    ${bindir}/ulmctl \
    ${datadir}/bash-completion \
    ${datadir}/zsh \
"

SUMMARY:libulmd-client = "C library for the socket of ulmd"
FILES:libulmd-client = "${libdir}/libulmd-client.so.*"

SUMMARY:libulmd-client-dev = "C library for the socket of ulmd: development files"
FILES:libulmd-client-dev = " \
    ${includedir}/ulmd \
    ${libdir}/libulmd-client.so \
    ${libdir}/pkgconfig/libulmd-client.pc \
"
RDEPENDS:libulmd-client-dev = "libulmd-client (= ${EXTENDPKGV})"
