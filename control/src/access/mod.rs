//! Who may use this server: the address filter of REST, the check of who sent a browser, and the rules
//! for publishers' addresses and pages.

mod csrf;
mod ip_filter;

pub(crate) use ip_filter::{
    IsTls, Peer, Refused, check_publisher_origin, filter, may_publish, server_filter,
};
