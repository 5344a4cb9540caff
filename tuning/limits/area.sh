# shellcheck shell=bash
# Area limits: locked memory and open files, for logins (the unit has its own) and for a unit of another name.

apply_limits() {
    want_file etc/security/limits.d/90-shardcast.conf "Shardcast started from a login, from the next login on" \
        <"$here/limits/90-shardcast.conf"
    want_file etc/systemd/system/shardcast.service.d/50-limits.conf \
        "keeps the limits where an older unit or another drop-in sets less" <"$here/limits/50-limits.conf"
}

after_limits() { reload_systemd; }
