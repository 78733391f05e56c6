#!/usr/bin/env bash
# A throw-away OpenStack Swift of one node with its S3 interface on loopback: swift.sh FOLDER PORT, and the 4 ports behind it.
# Prints one line when it serves. It ends when its standard input does, and then removes nothing: FOLDER is the caller's,
# on a file system with extended attributes.
# Debian: swift-proxy swift-account swift-container swift-object memcached.
set -euo pipefail
folder=$1 port=$2
mkdir -p "$folder"/{etc,srv/d1,run,log,cache}
etc=$folder/etc
exec 3>&1 >"$folder/log/start.log" 2>&1
children=()
trap 'kill "${children[@]}" 2>/dev/null; wait' EXIT
cat >"$etc/swift.conf" <<END
[swift-hash]
swift_hash_path_suffix = espd
[storage-policy:0]
name = one
default = yes
END
offset=1
for kind in account container object; do
  at=$((port + offset)); offset=$((offset + 1))
  (cd "$etc" && swift-ring-builder $kind.builder create 4 1 1 && swift-ring-builder $kind.builder add r1z1-127.0.0.1:$at/d1 1 && swift-ring-builder $kind.builder rebalance)
  cat >"$etc/$kind-server.conf" <<END
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $at
user = $(id -un)
swift_dir = $etc
devices = $folder/srv
mount_check = false
workers = 0
log_address = /nonexistent
fallocate_reserve = 0
recon_cache_path = $folder/cache
[pipeline:main]
pipeline = healthcheck $kind-server
[app:$kind-server]
use = egg:swift#$kind
# A machine under load answers late, which is no fault of its.
conn_timeout = 20
node_timeout = 60
[filter:healthcheck]
use = egg:swift#healthcheck
END
done
cat >"$etc/proxy-server.conf" <<END
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
user = $(id -un)
swift_dir = $etc
workers = 0
log_address = /nonexistent
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 20
node_timeout = 60
recoverable_node_timeout = 60
error_suppression_limit = 1000
[filter:tempauth]
use = egg:swift#tempauth
user_espd_writer = writer-secret .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
min_segment_size = 5242880
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$((port + 4))
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
END
memcached -l 127.0.0.1 -p $((port + 4)) -u "$(id -un)" -m 16 & children+=($!)
for kind in account container object proxy; do
  swift-$kind-server "$etc/$kind-server.conf" >"$folder/log/$kind.log" 2>&1 & children+=($!)
done
serves() { (exec 4<>"/dev/tcp/127.0.0.1/$1" && printf 'GET /healthcheck HTTP/1.0\r\n\r\n' >&4 && grep -q OK <&4) 2>/dev/null; }
for at in "$port" $((port + 1)) $((port + 2)) $((port + 3)); do
  for _ in $(seq 400); do
    serves "$at" && break
    sleep 0.2
  done
  serves "$at"
done
echo ready >&3
cat >/dev/null
