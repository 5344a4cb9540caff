# shellcheck shell=bash
# A machine to tune: a tree with /proc, /sys and a network card. Sourced by the tests.

# make_machine ROOT CORES: a server with one card of eight queues.
make_machine() {
    local root=$1 last=$(($2 - 1)) core queue
    mkdir -p "$root"/{etc/shardcast,usr/sbin,var/lib,proc/irq,proc/net,proc/sys/net/{core,ipv4},proc/sys/kernel/random}
    echo 11111111-0000-4000-8000-000000000001 >"$root/proc/sys/kernel/random/boot_id"
    echo 212992 | tee "$root"/proc/sys/net/core/{rmem_max,wmem_max} >/dev/null
    echo 1000 >"$root/proc/sys/net/core/netdev_max_backlog"
    echo 4096 >"$root/proc/sys/net/core/somaxconn"
    echo 0 | tee "$root"/proc/sys/net/core/{busy_poll,busy_read} >/dev/null
    echo fq_codel >"$root/proc/sys/net/core/default_qdisc"
    echo 512 >"$root/proc/sys/net/ipv4/tcp_max_syn_backlog"
    printf '4096\t16384\t4194304\n' >"$root/proc/sys/net/ipv4/tcp_wmem"
    echo >"$root/proc/sys/net/ipv4/ip_local_reserved_ports"
    printf 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n' \
        >"$root/proc/net/route"
    mkdir -p "$root/sys/devices/system/cpu" "$root/sys/class/net/eth0/device/msi_irqs"
    echo "0-$last" >"$root/sys/devices/system/cpu/online"
    for ((core = 0; core <= last; core++)); do make_core "$root/sys/devices/system/cpu/cpu$core"; done
    echo '           CPU0' >"$root/proc/interrupts"
    make_irq "$root" 23 "eth0-config"
    for ((queue = 0; queue < 8; queue++)); do
        make_irq "$root" $((24 + queue)) "eth0-TxRx-$queue"
        mkdir -p "$root/sys/class/net/eth0/queues/tx-$queue"
        echo 00 >"$root/sys/class/net/eth0/queues/tx-$queue/xps_cpus"
    done
    mkdir "$root/card"
    printf '%s\n' combined=8 rx=512 adaptive-rx=on rx-usecs=3 gro=on gso=on tso=on tx-udp-segmentation=off ntuple=off \
        >"$root/card/settings"
    : >"$root/card/rules"
    cp "$TESTS/ethtool-card" "$root/usr/sbin/ethtool"
}

make_core() {
    mkdir -p "$1"/cpufreq "$1"/cpuidle/state{0,1,2}
    echo "performance powersave" >"$1/cpufreq/scaling_available_governors"
    echo powersave >"$1/cpufreq/scaling_governor"
    echo 0 | tee "$1"/cpuidle/state{0,1,2}/disable >/dev/null
    echo POLL >"$1/cpuidle/state0/name" && echo 0 >"$1/cpuidle/state0/latency"
    echo C1 >"$1/cpuidle/state1/name" && echo 2 >"$1/cpuidle/state1/latency"
    echo C6 >"$1/cpuidle/state2/name" && echo 133 >"$1/cpuidle/state2/latency"
}

make_irq() {
    mkdir -p "$1/proc/irq/$2"
    echo 0-7 >"$1/proc/irq/$2/smp_affinity_list"
    printf ' %s:  0   IR-PCI-MSI  524288-edge      %s\n' "$2" "$3" >>"$1/proc/interrupts"
    : >"$1/sys/class/net/eth0/device/msi_irqs/$2"
}

# Everything that tuning may change, without what it remembers. Blanks are tabs in some files of a real /proc.
fingerprint() {
    (
        cd "$1"
        find . -type f -not -path './var/lib/shardcast-tuning/*' -printf '%m %p\n' | sort -k2
        find . -type f -not -path './var/lib/shardcast-tuning/*' -print0 | sort -z | xargs -0 grep -H '' | tr '\t' ' '
    )
}
