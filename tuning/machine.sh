# shellcheck shell=bash
# What the areas need to know of the machine and of Shardcast's settings. Sourced by shardcast-tune.
#
# SHARD_CORES: the core of shard n is SHARD_CORES[n]. CODEC_CORES: cores that only decode and encode.
# OTHER_CORES: what is left for everything else. INTERFACES: network interfaces that carry media.

read_machine() {
    read_settings "$ROOT${CONFIG:-/etc/shardcast/shardcast.toml}"
    read_cores
    read_interfaces
}

# The settings file is TOML; of these keys, each stands in one line of its head, before the first table.
read_settings() {
    local file=$1
    SETTINGS=
    if [ -r "$file" ]; then
        SETTINGS=$(sed '/^[[:space:]]*\[/,$d' "$file")
    elif [ -n "$CONFIG" ]; then
        fail "--config $CONFIG: cannot be read"
    fi
    UDP_PORT_BASE=${OPTION_UDP_PORT_BASE:-$(setting udp_port_base 50000)}
    HTTP_PORT=${OPTION_HTTP_PORT:-$(setting http_port 5080)}
    HTTPS_PORT=${OPTION_HTTPS_PORT:-$(setting https_port 5443)}
    RTMP_PORT=${OPTION_RTMP_PORT:-$(setting rtmp_port 1935)}
    RTMPS_PORT=${OPTION_RTMPS_PORT:-$(setting rtmps_port "$(rtmps_port_default)")}
    # A free one, which changes with each start.
    [ "$RTMPS_PORT" != 0 ] || RTMPS_PORT=
}

# RTMPS comes with a certificate, and not with the one that Shardcast signs itself.
rtmps_port_default() {
    if grep -Eq '^[[:space:]]*tls_cert[[:space:]]*=' <<<"$SETTINGS"; then echo 1936; fi
}

# setting KEY DEFAULT: a number or a list of numbers, as `1,2,3`.
setting() {
    local text
    text=$(sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*//p" <<<"$SETTINGS" | sed 's/#.*//' | tr -cd '0-9,' | sed 's/,$//')
    echo "${text:-$2}"
}

read_cores() {
    local online count core
    online=$(cat "$ROOT/sys/devices/system/cpu/online" 2>/dev/null) || fail "/sys/devices/system/cpu/online cannot be read"
    mapfile -t ONLINE < <(expand "$online")
    mapfile -t CODEC_CORES < <(expand "${OPTION_CODEC_CORES:-$(setting codec_cores '')}")
    mapfile -t SHARD_CORES < <(expand "${OPTION_CORES:-$(setting cores '')}")
    if [ ${#SHARD_CORES[@]} = 0 ]; then
        for core in "${ONLINE[@]}"; do
            is_among "$core" "${CODEC_CORES[@]}" || SHARD_CORES+=("$core")
        done
    fi
    count=$(setting shards '')
    if [ -n "$count" ] && [ "$count" -lt ${#SHARD_CORES[@]} ]; then
        SHARD_CORES=("${SHARD_CORES[@]:0:count}")
    fi
    OTHER_CORES=()
    for core in "${ONLINE[@]}"; do
        is_among "$core" "${SHARD_CORES[@]}" "${CODEC_CORES[@]}" || OTHER_CORES+=("$core")
    done
    for core in "${SHARD_CORES[@]}" "${CODEC_CORES[@]}"; do
        is_among "$core" "${ONLINE[@]}" || fail "core $core is not online: this machine has $online" 2
    done
    SHARDS=${#SHARD_CORES[@]}
    [ "$SHARDS" -gt 0 ] || fail "no core is left for a shard" 2
    UDP_PORT_LAST=$((UDP_PORT_BASE + SHARDS - 1))
    [ "$UDP_PORT_LAST" -le 65535 ] || fail "udp_port_base $UDP_PORT_BASE leaves no ports for $SHARDS shards" 2
}

# Shards run where Shardcast's settings say, so these must say the same as the options of this tool.
remind_of_cores() {
    remind_of cores "$OPTION_CORES"
    remind_of codec_cores "$OPTION_CODEC_CORES"
}

remind_of() {
    local named said
    mapfile -t named < <(expand "$2")
    mapfile -t said < <(expand "$(setting "$1" '')")
    [ ${#named[@]} = 0 ] || [ "${named[*]}" = "${said[*]}" ] ||
        echo "note: Shardcast's own settings must say the same: $1 = [$(join "${named[@]}")]"
}

read_interfaces() {
    INTERFACES=("${OPTION_INTERFACES[@]}")
    if [ ${#INTERFACES[@]} = 0 ] && [ -r "$ROOT/proc/net/route" ]; then
        mapfile -t INTERFACES < <(awk '$2 == "00000000" && $8 == "00000000" { print $1 }' "$ROOT/proc/net/route" | sort -u)
    fi
}

# expand 0,2-4: one number a line.
expand() {
    local part
    local -a parts
    IFS=, read -ra parts <<<"$1"
    for part in "${parts[@]}"; do
        [ -z "$part" ] || seq "${part%-*}" "${part#*-}"
    done
}

# join 0 2 3: 0,2,3
join() {
    local IFS=,
    echo "$*"
}

is_among() {
    local wanted=$1 one
    shift
    for one in "$@"; do
        [ "$one" != "$wanted" ] || return 0
    done
    return 1
}

# tool NAME ARGUMENTS: runs a program of the machine; of the tree, where --root names one.
tool() {
    local name=$1
    shift
    if [ -z "$ROOT" ]; then "$name" "$@"; else "$ROOT/usr/sbin/$name" "$@"; fi
}

has_tool() {
    if [ -z "$ROOT" ]; then command -v "$1" >/dev/null; else [ -x "$ROOT/usr/sbin/$1" ]; fi
}
