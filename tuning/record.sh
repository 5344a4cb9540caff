# shellcheck shell=bash
# Changes settings and remembers what they were. Sourced by shardcast-tune.
#
# A setting has a kind and a key. `read_KIND KEY` prints its value, or fails where the machine has none;
# `write_KIND KEY VALUE` sets it. STATE/AREA.changes has one line for each setting that was changed:
#
#     boot TAB kind TAB key TAB value before TAB value it took TAB value wanted
#
# The last two differ where a driver rounds. A value is never empty: `-` stands for that.
#
# `boot` is the boot id for kinds that a restart of the machine resets, and `-` for those that stay. A line of another
# boot is void: what it says is no longer so.

VOLATILE=" proc ethtool_channels ethtool_ring ethtool_coalesce ethtool_feature ethtool_flow nft_table "
TAB=$'\t'
RESULT=0

open_state() {
    STATE=$ROOT/var/lib/shardcast-tuning
    BOOT_ID=$(cat "$ROOT/proc/sys/kernel/random/boot_id" 2>/dev/null || echo unknown)
    DESIRED=$(mktemp -d)
    trap 'rm -rf "$DESIRED"' EXIT
    [ -z "$DRY" ] || return 0
    case $COMMAND in
    apply | undo)
        mkdir -p "$STATE/contents"
        chmod 700 "$STATE"
        exec 9>"$STATE/lock"
        flock -n 9 || fail "another shardcast-tune is at work here"
        ;;
    esac
}

begin_area() {
    AREA=$1
    CHANGES=$STATE/$AREA.changes
    AREA_CHANGED=0
    drop_void
}

end_area() {
    [ "$COMMAND" != status ] || return 0
    if [ "$COMMAND" = apply ] && [ -z "$DRY" ]; then
        arguments >"$STATE/$AREA.arguments"
    fi
    if [ "$COMMAND" = undo ] && [ -z "$DRY" ]; then
        rm -f "$STATE/$AREA.arguments"
    fi
    [ "$AREA_CHANGED" != 0 ] || say "nothing to change"
}

# The options to apply with again, one a line.
arguments() {
    local name
    [ -z "$CONFIG" ] || printf '%s\n' --config "$CONFIG"
    [ -z "$OPTION_CORES" ] || printf '%s\n' --cores "$OPTION_CORES"
    [ -z "$OPTION_CODEC_CORES" ] || printf '%s\n' --codec-cores "$OPTION_CODEC_CORES"
    [ -z "$OPTION_UDP_PORT_BASE" ] || printf '%s\n' --udp-port-base "$OPTION_UDP_PORT_BASE"
    [ -z "$OPTION_HTTP_PORT" ] || printf '%s\n' --http-port "$OPTION_HTTP_PORT"
    [ -z "$OPTION_HTTPS_PORT" ] || printf '%s\n' --https-port "$OPTION_HTTPS_PORT"
    [ -z "$OPTION_RTMP_PORT" ] || printf '%s\n' --rtmp-port "$OPTION_RTMP_PORT"
    [ -z "$OPTION_RTMPS_PORT" ] || printf '%s\n' --rtmps-port "$OPTION_RTMPS_PORT"
    for name in "${OPTION_INTERFACES[@]}"; do printf '%s\n' --interface "$name"; done
    [ -z "$BOOT" ] || echo --boot
}

say() { printf '%-9s%s\n' "$AREA" "$*"; }

# The machine has no such thing: that is no fault.
skip() { say "skipped $*"; }

# The machine has it and does not let it be changed.
refused() {
    say "REFUSED $*"
    RESULT=3
}

# --- the record -------------------------------------------------------------------------------

# Prints "before TAB set TAB wanted" of a setting that was changed.
recorded() {
    [ -e "$CHANGES" ] || return 1
    awk -F'\t' -v kind="$1" -v key="$2" '$2 == kind && $3 == key { print $4 "\t" $5 "\t" $6; found = 1 }
        END { exit !found }' "$CHANGES"
}

# record KIND KEY BEFORE SET WANTED: replaces the line of that setting in its place, or adds it.
record() {
    local boot=-
    [[ $VOLATILE != *" $1 "* ]] || boot=$BOOT_ID
    [ -e "$CHANGES" ] || : >"$CHANGES"
    awk -F'\t' -v OFS='\t' -v boot="$boot" -v kind="$1" -v key="$2" -v before="$3" -v set="$4" -v wanted="$5" '
        $2 == kind && $3 == key { print boot, kind, key, before, set, wanted; found = 1; next }
        { print }
        END { if (!found) print boot, kind, key, before, set, wanted }' "$CHANGES" >"$CHANGES.new"
    mv "$CHANGES.new" "$CHANGES"
}

forget() {
    awk -F'\t' -v kind="$1" -v key="$2" '!($2 == kind && $3 == key)' "$CHANGES" >"$CHANGES.new"
    mv "$CHANGES.new" "$CHANGES"
}

drop_void() {
    [ -e "$CHANGES" ] && [ -z "$DRY" ] && [ "$COMMAND" != status ] || return 0
    awk -F'\t' -v boot="$BOOT_ID" '$1 == "-" || $1 == boot' "$CHANGES" >"$CHANGES.new"
    mv "$CHANGES.new" "$CHANGES"
}

# --- changing and undoing ---------------------------------------------------------------------

# want KIND KEY VALUE REASON: makes a setting have a value. Answers 0 also where that cannot be.
want() {
    local kind=$1 key=$2 wanted=$3 reason=$4 now before='' set='' last='' after
    if ! now=$(read_"$kind" "$key"); then
        skip "$(name_of "$kind" "$key"): this machine does not have it"
        return 0
    fi
    if IFS=$TAB read -r before set last < <(recorded "$kind" "$key"); then
        [ "$now/$wanted" != "$set/$last" ] || return 0
        # Before the first change and after a restart it has one of these two values.
        if [ "$now" != "$before" ] && [ "$now" != "$set" ]; then
            say "left $(name_of "$kind" "$key") = $now: somebody changed it since (this tool had set $set)"
            return 0
        fi
    else
        before=$now
    fi
    [ "$now" != "$wanted" ] || return 0
    AREA_CHANGED=1
    if [ -n "$DRY" ]; then
        say "would set $(name_of "$kind" "$key") = $(show_"$kind" "$wanted") (is $(show_"$kind" "$now")): $reason"
        explain_"$kind" "$key" "$wanted"
        return 0
    fi
    # Recorded first: an interrupted change can be undone.
    record "$kind" "$key" "$before" "$wanted" "$wanted"
    if ! write_"$kind" "$key" "$wanted" 2>"$DESIRED/error"; then
        refused "$(name_of "$kind" "$key") = $(show_"$kind" "$wanted") (is $(show_"$kind" "$now")): $(tail -n 1 "$DESIRED/error")"
        take_back "$kind" "$key" "$before" "$set" "$last"
        return 0
    fi
    after=$(read_"$kind" "$key") || after=$now
    if [ "$after" = "$now" ]; then
        refused "$(name_of "$kind" "$key"): accepted $(show_"$kind" "$wanted") and kept $(show_"$kind" "$now")"
        take_back "$kind" "$key" "$before" "$set" "$last"
        return 0
    fi
    record "$kind" "$key" "$before" "$after" "$wanted"
    say "set $(name_of "$kind" "$key") = $(show_"$kind" "$after") (was $(show_"$kind" "$now"))"
}

# The record of a setting as it was before a change that failed.
take_back() {
    if [ -n "$4" ]; then record "$@"; else forget "$1" "$2"; fi
}

undo_area() {
    local lines line boot kind key before set wanted
    [ -e "$CHANGES" ] || return 0
    mapfile -t lines < <(tac "$CHANGES")
    for line in "${lines[@]}"; do
        IFS=$TAB read -r boot kind key before set wanted <<<"$line"
        [ "$boot" = - ] || [ "$boot" = "$BOOT_ID" ] || continue
        undo_one "$kind" "$key" "$before" "$set"
    done
    if [ -z "$DRY" ] && [ ! -s "$CHANGES" ]; then rm -f "$CHANGES"; fi
}

# With the last change undone, nothing of this tool stays.
close_state() {
    local left
    [ "$COMMAND" = undo ] && [ -z "$DRY" ] || return 0
    left=("$STATE"/*.changes)
    [ ${#left[@]} -gt 0 ] || rm -rf "$STATE"
}

undo_one() {
    local kind=$1 key=$2 before=$3 set=$4 now
    AREA_CHANGED=1
    if ! now=$(read_"$kind" "$key"); then
        skip "$(name_of "$kind" "$key"): it is gone"
    elif [ "$now" = "$before" ]; then
        say "is as it was: $(name_of "$kind" "$key") = $(show_"$kind" "$now")"
    elif [ "$now" != "$set" ]; then
        say "left $(name_of "$kind" "$key") = $(show_"$kind" "$now"): somebody changed it since" \
            "(it was $(show_"$kind" "$before"), this tool had set $(show_"$kind" "$set"))"
    elif [ -n "$DRY" ]; then
        say "would restore $(name_of "$kind" "$key") = $(show_"$kind" "$before") (is $(show_"$kind" "$now"))"
    elif ! write_"$kind" "$key" "$before" 2>"$DESIRED/error"; then
        refused "$(name_of "$kind" "$key") = $(show_"$kind" "$before"): $(tail -n 1 "$DESIRED/error")"
        return 0
    else
        say "restored $(name_of "$kind" "$key") = $(show_"$kind" "$before")"
    fi
    [ -n "$DRY" ] || forget "$kind" "$key"
}

show_area() {
    local boot kind key before set wanted now
    [ -e "$CHANGES" ] || return 0
    while IFS=$TAB read -r boot kind key before set wanted; do
        [ "$boot" = - ] || [ "$boot" = "$BOOT_ID" ] || continue
        now=$(read_"$kind" "$key") || now="(gone)"
        say "$(name_of "$kind" "$key"): was $(show_"$kind" "$before"), set $(show_"$kind" "$set"), is $(show_"$kind" "$now")"
    done <"$CHANGES"
}

# --- kinds ------------------------------------------------------------------------------------

name_of() {
    case $1 in
    sysctl) echo "${2//\//.}" ;;
    proc | file) echo "/$2" ;;
    ethtool_*) echo "${2%%/*} ${1#ethtool_}${2#"${2%%/*}"}" ;;
    nft_table) echo "table inet $2" ;;
    *) echo "$2" ;;
    esac
}

# A file of one line in /proc or /sys. Blanks between numbers are tabs there.
read_proc() {
    local text
    { text=$(tr -s '\t ' ' ' <"$ROOT/$1"); } 2>/dev/null || return 1
    text=${text% }
    echo "${text:--}"
}
write_proc() {
    # One system call, as these files need.
    if [ "$2" = - ]; then echo >"$ROOT/$1"; else printf '%s\n' "$2" >"$ROOT/$1"; fi
}
show_proc() { if [ "$1" = - ]; then echo "(empty)"; else echo "$1"; fi; }
explain_proc() { :; }

# The same below /proc/sys, which sysctl.d sets again at each start.
read_sysctl() { read_proc "proc/sys/$1"; }
write_sysctl() { write_proc "proc/sys/$1" "$2"; }
show_sysctl() { show_proc "$1"; }
explain_sysctl() { :; }

# A file that is there as a whole. Its value is the checksum of its content, which is kept beside the record.
read_file() {
    if [ -e "$ROOT/$1" ]; then
        sha256sum <"$ROOT/$1" | cut -d' ' -f1
    else
        echo absent
    fi
}
write_file() {
    local path=$ROOT/$1 directory
    directory=$(dirname "$path")
    [ ! -e "$path" ] || cp -p "$path" "$STATE/contents/$(read_file "$1")"
    if [ "$2" = absent ]; then
        rm -f "$path"
        # Drop-in directories that would be left empty.
        case $directory in
        *.service.d | *.slice.d | *.scope.d | */grub.d) rmdir "$directory" 2>/dev/null || true ;;
        esac
        return
    fi
    [ ! -e "$DESIRED/$2" ] || install -m 644 "$DESIRED/$2" "$STATE/contents/$2"
    mkdir -p "$directory"
    cp -p "$STATE/contents/$2" "$path.new-$$" && mv "$path.new-$$" "$path"
}
show_file() { if [ "$1" = absent ]; then echo absent; else echo "content ${1:0:12}"; fi; }
explain_file() {
    local old=$ROOT/$1
    [ -e "$old" ] || old=/dev/null
    diff -u --label "/$1 now" --label "/$1 then" "$old" "$DESIRED/$2" | sed 's/^/    /' || true
}

# want_file PATH REASON: a file with what standard input has.
want_file() {
    local sum
    cat >"$DESIRED/text"
    sum=$(sha256sum <"$DESIRED/text" | cut -d' ' -f1)
    mv "$DESIRED/text" "$DESIRED/$sum"
    want file "$1" "$sum" "$2"
}
