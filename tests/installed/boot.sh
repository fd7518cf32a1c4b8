# SPDX-License-Identifier: GPL-2.0-only
# boot.sh WORK [TREE]: become the systemd of a system that is this machine's with TREE laid over it, run WORK/script
# there, and end. It is started in namespaces of its own for mounts, processes, cgroups and the network. All that is
# written there goes to memory, but for WORK, which is /mnt there. What belongs to the kernel as a whole is read-only.
set -eu
work=$1
root=$work/root
memory=$work/memory

mount --make-rprivate /
mkdir -p "$root" "$memory"
mount -t tmpfs tmpfs "$memory"
mkdir "$memory/upper" "$memory/work"
if [ $# -gt 1 ]; then cp -a "$2"/* "$memory/upper"; fi  # a layer of its own may not be below another one
mount -t overlay overlay -o "lowerdir=/,upperdir=$memory/upper,workdir=$memory/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$work" "$root/mnt"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"

cat >"$root/etc/systemd/system/test-script.service" <<EOF
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
StandardOutput=file:/mnt/output
StandardError=inherit
ExecStart=-/bin/sh -eux /mnt/script
ExecStart=/bin/systemctl --no-block exit
EOF

cd "$root"
mkdir old
pivot_root . old
umount -l old
rmdir old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --log-target=journal --unit=test-script.service
