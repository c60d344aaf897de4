#!/bin/bash
# A systemd as the first process of its own namespaces (all but the network's). It sees this machine's files; its
# changes to them are in memory, and disappear with it. It runs no service of this machine, and units that would change the
# kernel are masked.
#   BOX       an empty folder
#   CGROUP    the name of its cgroup, below that of the caller
#   SETUP     a script that prepares it, with the system's root as $R
set -e
if [ "$1" != inside ]; then
  mount -t cgroup2 cgroup2 "$BOX"
  own=$BOX/$(sed -n 's/^0:://p' /proc/self/cgroup)/$CGROUP
  mkdir "$own"
  echo 0 >"$own/cgroup.procs"
  umount "$BOX"
  exec unshare --cgroup bash "$0" inside
fi
mount -t tmpfs tmpfs "$BOX" -o size=256m
mkdir "$BOX/up" "$BOX/work" "$BOX/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$BOX/up,workdir=$BOX/work" "$BOX/root"
export R=$BOX/root

mount -t proc proc "$R/proc"
mount --bind "$R/proc/sys" "$R/proc/sys"
mount -o remount,ro,bind "$R/proc/sys"
mount -t sysfs -o ro sysfs "$R/sys"
mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
for place in run tmp dev; do mount -t tmpfs tmpfs "$R/$place" -o mode=755; done
chmod 1777 "$R/tmp"
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t devpts devpts "$R/dev/pts" -o newinstance,ptmxmode=0666
mount -t tmpfs tmpfs "$R/dev/shm"
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$R/dev/${node%:*}" c 1 "${node#*:}"; done

units=$R/etc/systemd/system
mkdir -p "$units"
rm -rf "$units"/*.wants "$units"/*.requires
# Units that set up a machine at boot: this one is set up already.
for unit in \
  systemd-{sysctl,modules-load,udevd,udev-trigger,udev-settle,hwdb-update,random-seed,boot-random-seed}.service \
  systemd-{timesyncd,binfmt,remount-fs,tmpfiles-setup-dev,tmpfiles-setup-dev-early,pstore,networkd}.service \
  proc-sys-fs-binfmt_misc.{automount,mount} sys-kernel-{config,debug,tracing}.mount sys-fs-fuse-connections.mount \
  dev-{hugepages,mqueue}.mount kmod-static-nodes.service swap.target docker.{service,socket} containerd.service; do
  ln -sf /dev/null "$units/$unit"
done
printf '[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\nAllowIsolate=yes\n' >"$units/box.target"
bash -e -c "$SETUP"
exec chroot "$R" /usr/bin/env -i container=box PATH="$PATH" /lib/systemd/systemd --unit=box.target --log-target=null
