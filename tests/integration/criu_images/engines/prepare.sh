# Lets engines make containers inside of this one, whose control groups Docker mounts read-only, and makes /rootfs: that of
# a container which has only its own program, and gets /usr from here.
set -e
for mount in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    if mountpoint -q "$mount"; then mount -o remount,bind,rw "$mount"; fi
done
mkdir -p /etc/criu /rootfs && cd /rootfs
mkdir -p app dev etc proc run sys tmp usr var/log
for directory in bin lib lib64 sbin; do ln -s usr/$directory $directory; done
cp /program.py app/program.py
tar -c . | podman import - program
