# SPDX-License-Identifier: GPL-2.0-only
# Process 1 of the guest: run /guest/command. Its output goes to ttyS1; ttyS2 says that it began and how it ended.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null # most kernels have mounted it by themselves
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for dir in /dev/shm /run /tmp; do
    mount -t tmpfs -o mode=1777 tmpfs $dir
done
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname damosd-vm

# As bytes: no newline becomes two, and the line's speed must not stretch the close.
for port in 1 2; do
    stty -F /dev/ttyS$port raw -echo 115200
done
# The command writes to a pipe as it would in CI: on a terminal, programs colour and fold what they write.
mkfifo /run/output
cat /run/output >/dev/ttyS1 &
export HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PYTHONPATH=/guest/project
cd /guest/project
echo started >/dev/ttyS2
setsid sh /guest/command </dev/null >/run/output 2>&1
status=$?
# All output, but not for ever: a process left behind may hold the pipe open.
timeout 10 tail --pid=$! -s 0.1 -f /dev/null
echo "exit $status" >/dev/ttyS2
# QEMU runs with -no-reboot, so this ends it; nothing on the disks is worth a sync.
echo b >/proc/sysrq-trigger
