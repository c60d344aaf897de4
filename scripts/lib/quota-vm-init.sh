#!/bin/sh
# Process 1 of the virtual machine of the quota tests: file systems, network, then Docker on XFS with project quotas.
# When Docker ends, for any reason, the machine is switched off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

say() { echo "berth-vm: $*"; }
off() {
  say "$*"
  # As there is no other init to ask.
  echo o > /proc/sysrq-trigger
  sleep 60
}
trap 'off "ended"' EXIT
set -e

# The initrd has mounted some of them already.
mounted() { mountpoint -q "$2" || { mkdir -p "$2" && mount -t "$1" "$1" "$2"; }; }
mounted proc /proc
mounted sysfs /sys
mounted devtmpfs /dev
mounted devpts /dev/pts
mounted tmpfs /dev/shm
mounted tmpfs /run
mounted tmpfs /tmp
mounted cgroup2 /sys/fs/cgroup

say "network"
modprobe virtio_net
ip link set lo up
ip link set eth0 up
# QEMU's user network: this machine is .15, and nothing is reachable but what is forwarded to it.
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2

say "XFS with project quotas"
mkfs.xfs -q -f /dev/vdb
mkdir -p /var/lib/docker
mount -t xfs -o prjquota /dev/vdb /var/lib/docker

say "Docker"
# `--tls=false`, written out, spares the pause that Docker makes to scare. Through a pipe, or its log has colours.
dockerd --tls=false --host tcp://10.0.2.15:2375 --bridge none 2>&1 | cat
