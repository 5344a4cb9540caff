//! How many file descriptors this process may have. Each connection is one, and many systems
//! start a service with a soft limit of 1024, kept so low only for programs that use `select`.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, for this process and the engine that it starts. Returns
/// the limit in force; `None` is without limit.
pub fn raise_descriptors() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current,
        Err(error) => {
            tracing::warn!(%error, limit = before, "the limit of open files stays as it is");
            before
        }
    }
}

/// The limit in force; `None` is without limit.
pub(crate) fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise_descriptors();
        assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
    }
}
