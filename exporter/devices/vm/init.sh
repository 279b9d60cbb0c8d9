#!/bin/busybox sh
# The machine's first process: mounts, network, adbd. It ends with the machine.
busybox mkdir -p /proc /sys /dev /tmp /data /opt
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mkdir -p /dev/pts /dev/shm
busybox mount -t devpts devpts /dev/pts
busybox mount -t tmpfs shm /dev/shm
busybox --install -s /bin
while read -r module; do insmod "/modules/$module"; done < /modules/order
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up # QEMU's user network gives the guest this address
mount -t ext4 -o noatime /dev/vda /data || echo "gemcut: no scratch disk"
mkdir -p /data/local/tmp
[ -b /dev/vdb ] && mount -t ext4 -o ro,noload /dev/vdb /opt
echo "gemcut: up"
echo -1000 > /proc/self/oom_score_adj # when memory runs out, the program goes, not the way to it
/bin/adbd
echo "gemcut: adbd ended with $?"
poweroff -f
