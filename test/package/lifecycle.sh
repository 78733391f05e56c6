#!/bin/bash
# The life of the package on a throw-away copy of this machine: an overlay over its root in a mount namespace of its own,
# with a systemctl that notes what it is told. usage: lifecycle.sh FIRST.deb SECOND.deb FOLDER (empty, for the overlay)
# LOWER names the root of another system to be the lower layer. Needs root, and `unshare --mount` around it. Each step prints "## name", what dpkg said, and what is then the case.
set -euo pipefail
first=$1 second=$2 folder=$3

mount -t tmpfs tmpfs "$folder"
mkdir "$folder"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=${LOWER:-/},upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
root=$folder/root
mount --bind /dev "$root/dev"
mount --bind /proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/systemd/system" "$root/run/lock" "$root/packages"
cp "$first" "$root/packages/first.deb"
cp "$second" "$root/packages/second.deb"

# Without a running systemd: links are made by the real one, the state is a word in a file.
mv "$root/usr/bin/systemctl" "$root/usr/bin/systemctl.real"
cat >"$root/usr/bin/systemctl" <<'END'
#!/bin/sh
words=
for word in "$@"; do case $word in -*) ;; *) words="$words $word" ;; esac; done
set -- "$@"
case "$words" in
    *' preset '* | *' enable '* | *' disable '* | *' is-enabled '*) exec systemctl.real --root=/ "$@" ;;
    *' is-active '*) cat /run/state; grep -qx active /run/state ;;
    *' start '*) echo start >>/run/told; test ! -e /run/start-fails || { echo failed >/run/state; exit 1; }; echo active >/run/state ;;
    *' stop '*) echo stop >>/run/told; echo inactive >/run/state ;;
    *' daemon-reload'*) echo reload >>/run/told ;;
esac
END
chmod 755 "$root/usr/bin/systemctl"
cat >"$root/usr/sbin/policy-rc.d" <<'END'
#!/bin/sh
exit 0
END
chmod 755 "$root/usr/sbin/policy-rc.d"
# What another test of this machine may have left.
rm -rf "$root/var/lib/espd" "$root/etc/espd"
echo inactive >"$root/run/state"

inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
dpkg_does() {
    local status=0
    : >"$root/run/told"
    inside dpkg "$@" 2>&1 </dev/null || status=$?
    echo "status: $status"
}
facts() {
    echo "state: $(cat "$root/run/state")"
    echo "told: $(tr '\n' ' ' <"$root/run/told")"
    if [ -L "$root/etc/systemd/system/multi-user.target.wants/espd.service" ]; then echo 'enabled: yes'; else echo 'enabled: no'; fi
    if [ -e "$root/etc/espd/config.yaml" ]; then echo "config: $(tail -n 1 "$root/etc/espd/config.yaml")"; else echo 'config: gone'; fi
    if [ -e "$root/var/lib/espd/board/flash.bin" ]; then echo "archive: $(cat "$root/var/lib/espd/board/flash.bin")"; else echo 'archive: none'; fi
    if inside id espd >/dev/null 2>&1; then echo 'user: there'; else echo 'user: none'; fi
}

echo '## install'
dpkg_does --install --no-triggers --force-downgrade /packages/first.deb
facts
echo "folder: $(inside stat -c '%a %U %G' /var/lib/espd)"
echo "groups: $(inside id -Gn espd)"
echo "version: $(inside espd --version 2>&1)"
echo "list: $(inside runuser -u espd -- espd list 2>&1)"
echo "verify: $(inside dpkg --verify espd 2>&1)"

mkdir "$root/var/lib/espd/board"
echo kept >"$root/var/lib/espd/board/flash.bin"
echo '# mine' >>"$root/etc/espd/config.yaml"

echo '## upgrade while it runs'
dpkg_does --install --no-triggers --force-downgrade /packages/second.deb
facts
echo '## configured again'
for i in 1 2; do inside env DPKG_MAINTSCRIPT_PACKAGE=espd /var/lib/dpkg/info/espd.postinst configure 0.1.0 2>&1 || echo "failed $i"; done
facts
echo '## upgrade while it is stopped'
echo inactive >"$root/run/state"
dpkg_does --install --no-triggers --force-downgrade /packages/first.deb
facts
echo '## upgrade after it failed'
echo failed >"$root/run/state"
dpkg_does --install --no-triggers --force-downgrade /packages/second.deb
facts
echo '## upgrade with a start that fails'
touch "$root/run/start-fails"
dpkg_does --install --no-triggers --force-downgrade /packages/first.deb
facts
rm "$root/run/start-fails"
echo '## remove'
echo active >"$root/run/state"
dpkg_does --no-triggers --remove espd
facts
echo '## install again'
dpkg_does --install --no-triggers --force-downgrade /packages/second.deb
facts
echo '## upgrade while it is disabled'
inside systemctl disable espd.service 2>/dev/null
echo inactive >"$root/run/state"
dpkg_does --install --no-triggers --force-downgrade /packages/first.deb
facts
echo '## remove and install while it is disabled'
dpkg_does --no-triggers --remove espd
dpkg_does --install --no-triggers --force-downgrade /packages/second.deb
facts
echo '## beside an installation by npm'
cp "$root/usr/lib/systemd/system/espd.service" "$root/etc/systemd/system/espd.service"
inside env DPKG_MAINTSCRIPT_PACKAGE=espd /var/lib/dpkg/info/espd.postinst configure 0.1.0 2>&1
rm "$root/etc/systemd/system/espd.service"
echo '## purge'
dpkg_does --no-triggers --purge espd
facts
echo "left: $(cd "$root" && find usr/lib/espd usr/bin/espd etc/espd usr/share/doc/espd var/lib/systemd/deb-systemd-helper-enabled -name '*espd*' 2>/dev/null | tr '\n' ' ')"
echo '## end'
