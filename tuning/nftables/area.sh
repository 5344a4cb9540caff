# shellcheck shell=bash
# Area nftables: a table of our own. No other table is touched, listed into a file or flushed.

apply_nftables() {
    local udp=$UDP_PORT_BASE rtmp=$RTMP_PORT sum set='' last='' now
    if ! has_tool nft; then
        skip "the table inet shardcast: nft is not installed"
        return 0
    fi
    [ "$UDP_PORT_BASE" = "$UDP_PORT_LAST" ] || udp=$UDP_PORT_BASE-$UDP_PORT_LAST
    [ -z "$RTMPS_PORT" ] || rtmp="{ $RTMP_PORT, $RTMPS_PORT }"
    sed -e "s/dport @UDP_PORTS@/dport $udp/; s/sport @UDP_PORTS@/sport $udp/" \
        -e "s/dport @TCP_PORTS@/dport { $HTTP_PORT, $HTTPS_PORT }/" \
        -e "s/@RTMP_PORTS@/$rtmp/" "$here/nftables/shardcast.nft" >"$DESIRED/shardcast.nft"
    # Without an RTMP port of Shardcast, another program may have it.
    if grep -Eq '^[[:space:]]*rtmp_enabled[[:space:]]*=[[:space:]]*false' <<<"$SETTINGS"; then
        sed -i '/jump rtmp/d' "$DESIRED/shardcast.nft"
    fi
    sum=$(sha256sum <"$DESIRED/shardcast.nft" | cut -d' ' -f1)
    now=$(read_nft_table shardcast)
    if ! IFS=$TAB read -r _ set last < <(recorded nft_table shardcast); then
        if [ "$now" != absent ]; then
            skip "the table inet shardcast: one that this tool did not make is there already"
            return 0
        fi
    elif [ "$now" = "$set" ] && [ "$sum" != "$last" ] && [ -z "$DRY" ]; then
        # Other ports: the table is made anew, in one transaction with the removal of the old one.
        { echo "table inet shardcast"; echo "delete table inet shardcast"; cat "$DESIRED/shardcast.nft"; } >"$DESIRED/again"
        mv "$DESIRED/again" "$DESIRED/shardcast.nft"
    fi
    want nft_table shardcast "$sum" "keeps floods of STUN off the shards, and of connections off the RTMP ports"
}

# The value is a checksum of what nft lists without the state of sets and counters; wanted is one of the rules as
# they were written, so `want` compares it with the last that was written.
read_nft_table() {
    has_tool nft || return 1
    if tool nft list table inet "$1" >/dev/null 2>&1; then
        tool nft --stateless --terse list table inet "$1" 2>/dev/null | sha256sum | cut -d' ' -f1
    else
        echo absent
    fi
}
write_nft_table() {
    if [ "$2" = absent ]; then
        tool nft delete table inet "$1"
    else
        tool nft -f "$DESIRED/shardcast.nft"
    fi
}
show_nft_table() { show_file "$1"; }
explain_nft_table() { sed 's/^/    /' "$DESIRED/shardcast.nft"; }
