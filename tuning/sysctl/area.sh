# shellcheck shell=bash
# Area sysctl: kernel settings of 90-shardcast.conf, in force and in /etc/sysctl.d.

apply_sysctl() {
    local line key value reason='' installed='' reserved above=''

    while IFS= read -r line; do
        if [[ $line = '#'* ]]; then
            # The comment above a line, or above several, is their reason.
            [[ $above = '#'* ]] || reason=
            reason+="${line#'# '} "
            installed+=$line$'\n'
        elif [ -n "$line" ]; then
            key=${line%% =*} value=${line#*= }
            if [[ $reason = 'max. '* ]] && sysctl_is_more "$key" "$value"; then
                installed+="# $line  (this machine has more)"$'\n'
            else
                reason=${reason#max. }
                want sysctl "${key//.//}" "$value" "${reason% }"
                installed+=$line$'\n'
            fi
        fi
        above=$line
    done <"$here/sysctl/90-shardcast.conf"

    if reserved=$(reserved_ports); then
        want sysctl net/ipv4/ip_local_reserved_ports "$reserved" "no other program is given a shard's UDP port"
        installed+="net.ipv4.ip_local_reserved_ports = $reserved"$'\n'
    fi
    want_file etc/sysctl.d/90-shardcast.conf "the same after a restart" <<<"${installed%$'\n'}"
}

# Whether a maximum (a number, or the last of three) is above VALUE.
sysctl_is_more() {
    local now
    now=$(read_sysctl "${1//.//}") || return 1
    [[ ${now##* } =~ ^[0-9]+$ ]] && [ "${now##* }" -gt "${2##* }" ]
}

# The ports that are reserved and those of the shards. The kernel writes them sorted, and ranges as 1-2.
reserved_ports() {
    local now before set port ports=() first='' last='' out=()
    now=$(read_sysctl net/ipv4/ip_local_reserved_ports) || return 1
    # Those of an earlier call with other options are not kept.
    if IFS=$TAB read -r before set _ < <(recorded sysctl net/ipv4/ip_local_reserved_ports) && [ "$now" = "$set" ]; then
        now=$before
    fi
    mapfile -t ports < <({
        [ "$now" = - ] || expand "$now"
        seq "$UDP_PORT_BASE" "$UDP_PORT_LAST"
    } | sort -nu)
    for port in "${ports[@]}" ''; do
        if [ -n "$last" ] && [ -n "$port" ] && [ "$port" = $((last + 1)) ]; then
            last=$port
            continue
        fi
        if [ -n "$first" ]; then
            if [ "$first" = "$last" ]; then out+=("$first"); else out+=("$first-$last"); fi
        fi
        first=$port last=$port
    done
    join "${out[@]}"
}
