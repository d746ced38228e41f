#!/bin/sh
# Makes a guest of a fresh Debian root file system; mmdebstrap runs it with the root as $1.
# The scenarios' cloud is already in $1/opt/moto. Change this file and the cached image is built anew.
set -eu
root=$1

groupadd --root "$root" --gid 900 agent-guard
for user in agent:1000 approver:1001 mallory:1002; do
    useradd --root "$root" --uid "${user#*:}" --user-group --shell /bin/bash "${user%:*}"
done
usermod --root "$root" --append --groups agent-guard approver

# Compiled here, at the host's speed: under emulation each start of the cloud would pay for it.
chroot "$root" python3 -m compileall -q -j 2 /opt/moto
printf '127.0.0.1 localhost guest\n::1 localhost\n' >"$root/etc/hosts"
mkdir -p "$root/etc/agent-guard" "$root/srv"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/usr/share/doc/* "$root"/usr/share/man/*
