# shellcheck shell=bash
# Area cpu: governor and sleep states of the shards' and codecs' cores, and a proposal for the kernel's command line.

# Sleep states that a core needs longer than this to leave are switched off, in microseconds. A shard sleeps up to a
# thousand times a second, and each packet that ends a sleep waits for the core to wake.
CPU_EXIT_LATENCY_US_MAX=50

apply_cpu() {
    local core path latency
    for core in "${SHARD_CORES[@]}" "${CODEC_CORES[@]}"; do
        cpu_governor "$core"
    done
    [ -d "$ROOT/sys/devices/system/cpu/cpu${SHARD_CORES[0]}/cpufreq" ] ||
        skip "governor: the cores have no frequency scaling here (a virtual machine, or the firmware does it)"
    [ -d "$ROOT/sys/devices/system/cpu/cpu${SHARD_CORES[0]}/cpuidle/state0" ] ||
        skip "sleep states: the kernel does not choose them here (a virtual machine)"
    for core in "${SHARD_CORES[@]}"; do
        for path in "$ROOT/sys/devices/system/cpu/cpu$core/cpuidle"/state*; do
            latency=$(cat "$path/latency" 2>/dev/null) || continue
            [ "$latency" -le "$CPU_EXIT_LATENCY_US_MAX" ] ||
                want proc "${path#"$ROOT/"}/disable" 1 \
                    "$(cat "$path/name") takes $latency us to leave, and a packet waits for that"
        done
    done
    cpu_command_line
}

cpu_governor() {
    local path=sys/devices/system/cpu/cpu$1/cpufreq
    [ -d "$ROOT/$path" ] || return 0
    if grep -qw performance "$ROOT/$path/scaling_available_governors" 2>/dev/null; then
        want proc "$path/scaling_governor" performance "a core that slowed down while it slept handles the next packet late"
    else
        skip "governor of core $1: the driver has no \"performance\""
    fi
}

# Isolation is a choice of the kernel's command line, so it is proposed, and written only with --boot.
cpu_command_line() {
    local cores arguments
    if [ ${#OTHER_CORES[@]} = 0 ]; then
        skip "isolated cores: shards and codecs have every core; leave one to the system with --cores"
        return
    fi
    cores=$(join "${SHARD_CORES[@]}" "${CODEC_CORES[@]}")
    arguments="isolcpus=managed_irq,domain,$cores nohz_full=$cores rcu_nocbs=$cores irqaffinity=$(join "${OTHER_CORES[@]}")"
    if [ -z "$BOOT" ]; then
        say "proposal for the kernel's command line, not written without --boot: $arguments"
        return
    fi
    want_file etc/default/grub.d/90-shardcast.cfg \
        "no other thread runs on these cores; takes effect after update-grub and a restart" <<TEXT
# Written by shardcast-tune --boot. After a change, also after undo: update-grub, then restart the machine.
GRUB_CMDLINE_LINUX="\$GRUB_CMDLINE_LINUX $arguments"
TEXT
    say "run update-grub and restart the machine for the kernel's command line to change"
}
