# SPDX-License-Identifier: MIT
# To be copied to a layer of your own, as recipes-support/ulmd/ulmd_%.bbappend.

# Our model in place of the shipped one.
RRECOMMENDS:${PN}:remove = "ulmd-model-8m"
RDEPENDS:${PN} += "ulmd-model-mine"

# Our cloud. The key is not in the image: it comes to the device as /etc/credstore/ulmd.cloud-key.
do_install:append() {
    cat > ${D}${sysconfdir}/ulmd/ulmd.conf.d/70-cloud.conf <<EOF
[cloud]
dialect = openai-chat
url = https://api.example.com/v1
model = example-model
EOF
    chmod 0644 ${D}${sysconfdir}/ulmd/ulmd.conf.d/70-cloud.conf
}
