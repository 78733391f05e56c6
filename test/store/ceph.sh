#!/usr/bin/env bash
# A throw-away Ceph of one node with an S3 gateway on loopback, its data in memory: ceph.sh FOLDER PORT, PORT+1 as well.
# Prints one line when it serves. It ends when its standard input does, and then removes nothing: FOLDER is the caller's.
# Debian: ceph-mon ceph-mgr ceph-osd radosgw ceph-common. Some 12 s to start, 500 MB.
set -euo pipefail
dir=$1 port=$2 mon=$(($2 + 1))
mkdir -p "$dir"/{mon,mgr,osd,run,log}

stop() {
  local file
  for file in "$dir"/run/*.pid; do
    [[ -s $file ]] && kill -KILL "$(<"$file")" 2>/dev/null
  done
  exit 0
}
trap stop EXIT INT TERM

fsid=$(</proc/sys/kernel/random/uuid)
cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$mon/0]
mon initial members = a
public addr = 127.0.0.1
ms bind ipv6 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail crit = 1
mon data avail warn = 1
osd objectstore = memstore
memstore device bytes = 1073741824
run dir = $dir/run
pid file = $dir/run/\$name.pid
admin socket = $dir/run/\$name.asok
log file = $dir/log/\$name.log
mon data = $dir/mon
mgr data = $dir/mgr
osd data = $dir/osd
keyring = $dir/keyring
auth allow insecure global id reclaim = false
rgw frontends = beast endpoint=127.0.0.1:$port
rgw dns name = localhost
rgw enable usage log = false
CONF
conf=(-c "$dir/ceph.conf")
{
  monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon]" "$dir/monmap"
  ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
  ceph-mon "${conf[@]}" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
  ceph-mon "${conf[@]}" -i a
  ceph "${conf[@]}" config set mon auth_allow_insecure_global_id_reclaim false || true
  ceph "${conf[@]}" auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' >>"$dir/keyring"
  ceph-mgr "${conf[@]}" -i x
  uuid=$(</proc/sys/kernel/random/uuid)
  ceph "${conf[@]}" osd new "$uuid"
  ceph "${conf[@]}" auth get-or-create osd.0 mon 'allow profile osd' mgr 'allow profile osd' osd 'allow *' >>"$dir/keyring"
  ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$uuid" --osd-objectstore memstore
  ceph-osd "${conf[@]}" -i 0
  radosgw "${conf[@]}" -n client.admin
  radosgw-admin "${conf[@]}" user create --uid=writer --display-name=writer --access-key=writer --secret-key=writer-secret
  radosgw-admin "${conf[@]}" user create --uid=reader --display-name=reader --access-key=reader --secret-key=reader-secret
  radosgw-admin "${conf[@]}" user create --uid=small --display-name=small --access-key=small --secret-key=small-secret
  radosgw-admin "${conf[@]}" quota set --quota-scope=user --uid=small --max-size=1048576
  radosgw-admin "${conf[@]}" quota enable --quota-scope=user --uid=small
  for ((i = 0; i < 120; i++)); do
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep .5
  done
} >"$dir/log/start.log" 2>&1 </dev/null
echo ready
cat >/dev/null
