#!/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
# First process of the initramfs: find the disks, hand over to guest.sh.
b=/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
# Built in on some kernels, modules on others; a disk that is missing afterwards fails the mount.
for module in virtio_pci virtio_blk; do
    $b modprobe -q $module
done
$b mount -t ext4 /dev/vda /root &&
    $b mount -t ext4 /dev/vdb /root/guest &&
    $b cp -a /lib/modules /root/lib/ &&
    $b cp /config-* /root/boot/ ||
    $b reboot -f
# The root has no ifconfig, and tests listen on the loopback.
$b ifconfig lo up
$b umount /proc /sys
exec $b switch_root /root /bin/sh /guest/guest.sh
