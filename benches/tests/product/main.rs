//! The whole product with synthetic publishers, and the tools that measure it. One program, because each costs a
//! link of everything; its tests run side by side.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod bad_input;
mod capacity_search;
mod compare_servers;
mod destination_isolation;
mod encoder_publishes;
mod ended_by_a_signal;
mod fault_recovery;
mod fifty_destinations;
mod first_frame;
mod from_mpeg_ts;
mod go_live;
mod hls;
mod hls_pollers;
mod hostile_peer;
mod hostile_video;
mod hostile_viewers;
mod huge_pages;
mod opus_passthrough;
mod placement_beside_shows;
mod previews;
mod processes_killed;
mod publisher_sends;
mod pulled_by_nginx;
mod receiver;
mod recordings;
mod reencodes;
mod rendition_admission;
mod report_page;
mod rtmp_publishers;
mod rtmps;
mod sink_measures;
mod slow_disk;
mod soak;
mod udp_flood;
mod viewer_bandwidth;
mod watch;
