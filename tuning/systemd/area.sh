# shellcheck shell=bash
# Area systemd: a slice for Shardcast, and every other program kept off the cores of its shards and codecs.

apply_systemd() {
    local cores others slice section
    if [ ${#OTHER_CORES[@]} = 0 ]; then
        skip "slices: shards and codecs have every core; leave one to the system with --cores"
        return 0
    fi
    cores=$(join "${SHARD_CORES[@]}" "${CODEC_CORES[@]}")
    others=$(join "${OTHER_CORES[@]}")
    want_file etc/systemd/system/shardcast.slice "before other programs where they share a core" <<'TEXT'
# Written by shardcast-tune. Shardcast pins executors and codec threads to their cores itself, so its slice may use every
# core; what answers HTTP then runs on those that are left. Delegate= is not set: nothing in Shardcast makes cgroups.
[Unit]
Description=Shardcast

[Slice]
CPUWeight=1000
TEXT
    want_file etc/systemd/system/shardcast.service.d/50-cores.conf "the service runs in that slice" <<TEXT
# Written by shardcast-tune.
[Service]
Slice=shardcast.slice
TEXT
    for slice in system.slice user.slice init.scope; do
        section=Slice
        [ "$slice" != init.scope ] || section=Scope
        want_file "etc/systemd/system/$slice.d/50-shardcast.conf" "other programs keep off Shardcast's cores" <<TEXT
# Written by shardcast-tune: leaves cores $cores to Shardcast.
[$section]
AllowedCPUs=$others
TEXT
    done
}

after_systemd() { reload_systemd; }

reload_systemd() {
    [ -z "$ROOT" ] && [ -z "$DRY" ] && [ "$AREA_CHANGED" != 0 ] && [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload
    say "systemd has read its files again; slices and limits are in force for services that start from now on"
}
