# shellcheck shell=bash
# Area nic: queues, flow steering, rings, coalescing, offloads and interrupts of the interfaces that carry media.

# Receive descriptors of a queue: packets of 1,200 bytes arrive at 10 Gbit/s a million times a second, and a core may
# be away from the card for 4 ms.
NIC_RING=4096
# Microseconds that a card may gather packets before it interrupts: a tenth of the 1 ms for which a shard lets
# datagrams gather anyway, and 10,000 interrupts a second at most.
NIC_COALESCE_USECS=100

apply_nic() {
    local interface
    has_tool ethtool || skip "queues, rings, coalescing, offloads: ethtool is not installed"
    [ ${#INTERFACES[@]} -gt 0 ] || skip "everything: there is no default route; name the interface with --interface"
    for interface in "${INTERFACES[@]}"; do
        [ -d "$ROOT/sys/class/net/$interface" ] || fail "there is no interface $interface" 2
        [ ! -d "$ROOT/sys/class/net/$interface/bonding" ] ||
            skip "interrupts of $interface: it is a bond; name its members with --interface"
        if has_tool ethtool; then nic_card "$interface"; fi
        nic_queues_to_cores "$interface"
    done
    nic_irqbalance
}

nic_card() {
    local interface=$1 wanted now feature
    if now=$(read_ethtool_channels "$interface"); then
        wanted=$(nic_maximum -l "$interface" "$(nic_channel_word "$interface")")
        [[ $wanted =~ ^[0-9]+$ ]] || wanted=$now
        [ "$wanted" -le "$SHARDS" ] || wanted=$SHARDS
        want ethtool_channels "$interface" "$wanted" \
            "one receive queue for each shard; some drivers take the link down for a moment"
    else
        skip "$interface queues: the driver does not say how many"
    fi
    if now=$(read_ethtool_ring "$interface"); then
        wanted=$(nic_maximum -g "$interface" RX)
        [[ $wanted =~ ^[0-9]+$ ]] || wanted=$now
        [ "$wanted" -le "$NIC_RING" ] || wanted=$NIC_RING
        # Never made smaller.
        [ "$now" -le "$wanted" ] || wanted=$now
        want ethtool_ring "$interface" "$wanted" "4 ms of 10 Gbit/s, while a core is away from the card"
    else
        skip "$interface ring: the driver does not say its size"
    fi
    want ethtool_coalesce "$interface/adaptive-rx" off "an even delay, whatever the load"
    want ethtool_coalesce "$interface/rx-usecs" "$NIC_COALESCE_USECS" "at most 10,000 interrupts a second and queue"
    for feature in gro gso tso tx-udp-segmentation; do
        want ethtool_feature "$interface/$feature" on "datagrams of one sender are handled together, which costs a fraction"
    done
    nic_steer "$interface"
}

# Each shard's UDP port to the receive queue of the same number, whose interrupt is on the shard's core.
nic_steer() {
    local interface=$1 queues state shard family
    queues=$(read_ethtool_channels "$interface") || queues=1
    [ -z "$DRY" ] || queues=$SHARDS
    if [ "$queues" = 1 ] && [ "$SHARDS" -gt 1 ]; then
        skip "$interface flow steering: one queue has the packets of all $SHARDS shards"
        return 0
    fi
    state=$(read_ethtool_feature "$interface/ntuple") || state=none
    if [ "$state" != none ]; then
        want ethtool_feature "$interface/ntuple" on "rules may send a UDP port to a queue"
        # A dry run has not switched it on, but would.
        [ -n "$DRY" ] || state=$(read_ethtool_feature "$interface/ntuple")
    fi
    if [ "$state" = none ] || { [ -z "$DRY" ] && [ "$state" != on ]; }; then
        skip "$interface flow steering: the driver has no ntuple filters; packets reach shards by way of any core"
        return 0
    fi
    for ((shard = 0; shard < SHARDS; shard++)); do
        for family in udp4 udp6; do
            want ethtool_flow "$interface/$family/$((UDP_PORT_BASE + shard))" $((shard % queues)) \
                "shard $shard reads its packets on the core that the card interrupts"
        done
    done
}

# Interrupts of receive queue n, and the sending queues of its core, to the core of shard n.
nic_queues_to_cores() {
    local interface=$1 irqs queues irq queue path core now
    irqs=$(nic_irqs "$interface")
    queues=$(awk '{ print $2 }' <<<"$irqs" | sort -u | wc -l)
    if [ -z "$irqs" ]; then
        skip "$interface interrupts: it has none for its queues in /proc/interrupts"
    elif [ "$queues" = 1 ] && [ "$SHARDS" -gt 1 ]; then
        skip "$interface interrupts: one queue for $SHARDS shards stays on the core where it is"
    else
        while read -r irq queue; do
            core=${SHARD_CORES[queue % SHARDS]}
            want proc "proc/irq/$irq/smp_affinity_list" "$core" \
                "queue $queue of $interface belongs to shard $((queue % SHARDS))"
        done <<<"$irqs"
    fi
    for path in "$ROOT/sys/class/net/$interface/queues"/tx-*/xps_cpus; do
        queue=${path%/xps_cpus} queue=${queue##*/tx-}
        # Where there are fewer shards than queues, the others stay as they are.
        [ "$queue" -lt "$SHARDS" ] || continue
        # A queue that is alone, or a driver without such a choice, fails the read.
        now=$(read_proc "${path#"$ROOT/"}") || continue
        want proc "${path#"$ROOT/"}" "$(cpu_mask "${SHARD_CORES[queue]}" "$now")" \
            "shard $queue sends on the queue of its core"
    done
}

# Prints "irq queue" of an interface. Names end in the queue's number (eth0-TxRx-3, virtio1-input.3), or have it before
# an @ (mlx5_comp3@pci:0000:01:00.0).
nic_irqs() {
    local interface=$1 path own=' '
    for path in "$ROOT/sys/class/net/$interface/device/msi_irqs"/* "$ROOT/sys/class/net/$interface/device/../msi_irqs"/*; do
        own+="${path##*/} "
    done
    awk -v own="$own" -v interface="$interface" '
        $1 ~ /^[0-9]+:$/ {
            irq = substr($1, 1, length($1) - 1)
            name = $NF
            if (!index(own, " " irq " ") && index(name, interface "-") != 1) next
            sub(/@.*/, "", name)
            if (name ~ /async|config|ctrl|mgmnt|misc/ || name !~ /[0-9]$/ || name == interface) next
            match(name, /[0-9]+$/)
            print irq, substr(name, RSTART)
        }' "$ROOT/proc/interrupts" 2>/dev/null
}

# cpu_mask CORE LIKE: a mask with that core alone, as long as LIKE and with its commas.
cpu_mask() {
    local place=0 position digit mask=''
    for ((position = ${#2} - 1; position >= 0; position--)); do
        if [ "${2:position:1}" = , ]; then
            mask=,$mask
            continue
        fi
        digit=0
        [ "$place" != $(($1 / 4)) ] || digit=$(printf %x $((1 << ($1 % 4))))
        mask=$digit$mask
        place=$((place + 1))
    done
    echo "$mask"
}

nic_irqbalance() {
    if [ -z "$ROOT" ] && systemctl is-active --quiet irqbalance 2>/dev/null; then
        say "irqbalance runs and will move these interrupts again: systemctl disable --now irqbalance"
    fi
}

# --- kinds ------------------------------------------------------------------------------------

# nic_maximum FLAG INTERFACE WORD: the value behind WORD in the first half of `ethtool FLAG`.
nic_maximum() { tool ethtool "$1" "$2" 2>/dev/null | awk -v word="$3:" '$1 == word { print $2; exit }'; }

# nic_current FLAG INTERFACE WORD: the same in the second half.
nic_current() {
    local value
    value=$(tool ethtool "$1" "$2" 2>/dev/null | awk -v word="$3:" '
        /^Current hardware settings/ { now = 1 } now && $1 == word { print $2; exit }')
    [[ $value =~ ^[0-9]+$ ]] && echo "$value"
}

# A card has combined queues, or receiving queues apart from sending ones.
nic_channel_word() { if nic_current -l "$1" Combined >/dev/null; then echo Combined; else echo RX; fi; }

read_ethtool_channels() { nic_current -l "$1" "$(nic_channel_word "$1")"; }
write_ethtool_channels() {
    local word
    word=$(nic_channel_word "$1")
    tool ethtool -L "$1" "${word,,}" "$2"
}
show_ethtool_channels() { echo "$1"; }
explain_ethtool_channels() { :; }

read_ethtool_ring() { nic_current -g "$1" RX; }
write_ethtool_ring() { tool ethtool -G "$1" rx "$2"; }
show_ethtool_ring() { echo "$1"; }
explain_ethtool_ring() { :; }

# KEY is interface/adaptive-rx or interface/rx-usecs. An n/a of the driver is no value.
read_ethtool_coalesce() {
    local value word=${1#*/}
    value=$(tool ethtool -c "${1%%/*}" 2>/dev/null | awk -v word="$word" '
        word == "adaptive-rx" && $1 == "Adaptive" { print $3; exit }
        $1 == word ":" { print $2; exit }')
    [ -n "$value" ] && [ "$value" != n/a ] && echo "$value"
}
write_ethtool_coalesce() { tool ethtool -C "${1%%/*}" "${1#*/}" "$2"; }
show_ethtool_coalesce() { echo "$1"; }
explain_ethtool_coalesce() { :; }

# KEY is interface/feature. A feature that the driver fixes to off is one it does not have.
read_ethtool_feature() {
    local word=${1#*/} value
    case $word in
    gro) word=generic-receive-offload ;;
    gso) word=generic-segmentation-offload ;;
    tso) word=tcp-segmentation-offload ;;
    ntuple) word=ntuple-filters ;;
    esac
    value=$(tool ethtool -k "${1%%/*}" 2>/dev/null | awk -v word="$word:" '$1 == word { print $2 $3; exit }')
    case $value in
    'off[fixed]' | '') return 1 ;;
    esac
    echo "${value%%\[*}"
}
write_ethtool_feature() { tool ethtool -K "${1%%/*}" "${1#*/}" "$2"; }
show_ethtool_feature() { echo "$1"; }
explain_ethtool_feature() { :; }

# KEY is interface/udp4/port or interface/udp6/port; the value is the queue, or none.
read_ethtool_flow() {
    local rules
    rules=$(tool ethtool -n "${1%%/*}" 2>/dev/null) || return 1
    nic_rule "$1" queue <<<"$rules"
}
write_ethtool_flow() {
    local interface=${1%%/*} family=${1#*/} port=${1##*/} rule
    family=${family%/*}
    rule=$(tool ethtool -n "$interface" 2>/dev/null | nic_rule "$1" number)
    [ "$rule" = none ] || tool ethtool -N "$interface" delete "$rule" >/dev/null
    [ "$2" = none ] || tool ethtool -N "$interface" flow-type "$family" dst-port "$port" action "$2" >/dev/null
}
show_ethtool_flow() { if [ "$1" = none ]; then echo none; else echo "queue $1"; fi; }
explain_ethtool_flow() { :; }

# nic_rule KEY number|queue: of the rule for that port alone, in what `ethtool -n` prints.
nic_rule() {
    local type='UDP over IPv4'
    [[ $1 != */udp6/* ]] || type='UDP over IPv6'
    awk -v type="$type" -v port="${1##*/}" -v what="$2" '
        $1 == "Filter:" { number = $2; right = 0; here = 0 }
        index($0, "Rule Type: " type) { right = 1 }
        right && $1 == "Dest" && $2 == "port:" { here = ($3 == port) }
        right && here && /Action: Direct to queue/ {
            print (what == "number") ? number : $NF
            found = 1
            exit
        }
        END { if (!found) print "none" }'
}
