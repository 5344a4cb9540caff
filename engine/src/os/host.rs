//! What the engine needs of its machine, checked before anything starts. Errors name the setting of
//! the machine that is to be changed.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    net::IpAddr,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    ptr,
};

use shardcast_link::{fragment, socket_lot, tls_front};

use crate::{error::EngineError, limits::MEMLOCK_BYTES_MIN};

/// Raises the limits of the process as far as it may, and checks that io_uring works.
pub(crate) fn prepare() -> Result<(), EngineError> {
    if let Err(error) = raise_limit(libc::RLIMIT_NOFILE) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
    let locked = raise_limit(libc::RLIMIT_MEMLOCK).map_err(|source| EngineError::System {
        what: "reading RLIMIT_MEMLOCK",
        source,
    })?;
    if locked < MEMLOCK_BYTES_MIN {
        return Err(EngineError::LockedMemory {
            limit_bytes: locked,
            needed_bytes: MEMLOCK_BYTES_MIN,
        });
    }
    probe_io_uring()
}

/// Raises the soft limit to the hard one; returns what is in force.
fn raise_limit(resource: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for writes and outlives the call.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let wished = libc::rlimit {
        rlim_cur: limit.rlim_max,
        rlim_max: limit.rlim_max,
    };
    // SAFETY: `wished` is a valid rlimit that outlives the call.
    let raised = unsafe { libc::setrlimit(resource, &raw const wished) } == 0;
    Ok(if raised {
        wished.rlim_cur
    } else {
        limit.rlim_cur
    })
}

fn probe_io_uring() -> Result<(), EngineError> {
    let Err(error) = try_io_uring() else {
        return Ok(());
    };
    let advice = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "this kernel has none, or a container hides it: Linux 5.10 or later is needed, and a \
             seccomp profile that allows io_uring (docker: --security-opt seccomp=…)"
        }
        Some(libc::EPERM) => {
            "it is switched off: set sysctl kernel.io_uring_disabled=0, or allow io_uring_setup in \
             the container's seccomp profile"
        }
        Some(libc::ENOMEM) => "no memory may be locked: raise the limit (`ulimit -l unlimited`)",
        _ => "the kernel does not say why",
    };
    Err(EngineError::NoIoUring(format!("{advice} ({error})")))
}

/// Makes a small ring and drops it again.
pub(crate) fn try_io_uring() -> io::Result<()> {
    // The largest `struct io_uring_params` is 120 bytes; the kernel wants the unused part zero.
    let mut params = [0_u64; 32];
    // SAFETY: `params` is zeroed, larger than io_uring_params, aligned to 8, and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just given us this descriptor; nobody else knows it.
    unsafe { libc::close(fd as i32) };
    Ok(())
}

/// Sockets in that directory that are no shard's.
const OTHER_SOCKETS: [&str; 3] = [
    socket_lot::FILE_NAME,
    fragment::FILE_NAME,
    tls_front::FILE_NAME,
];

/// The directory of the link sockets, held by this process alone until it is dropped.
#[derive(Debug)]
pub(crate) struct LinkDir {
    path: PathBuf,
    _lock: File,
}

impl LinkDir {
    /// Makes the directory (mode 0700) when it is missing, locks it, and removes sockets that an
    /// engine before us has left.
    pub(crate) fn hold(path: &Path) -> Result<Self, EngineError> {
        let failed = |source| EngineError::LinkDir {
            path: path.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("engine.lock"))
            .map_err(failed)?;
        // SAFETY: the descriptor is open for as long as `lock` lives.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(failed(error));
            }
            let mut holder = String::new();
            let holder = lock
                .read_to_string(&mut holder)
                .ok()
                .map(|_| holder.trim().to_owned());
            return Err(EngineError::LinkDirHeld {
                path: path.to_owned(),
                holder: holder.filter(|pid| !pid.is_empty()),
            });
        }
        lock.set_len(0).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        let dir = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        dir.remove_sockets().map_err(failed)?;
        Ok(dir)
    }

    /// Where shard `shard` listens.
    pub(crate) fn socket(&self, shard: u16) -> PathBuf {
        self.path.join(format!("shard-{shard}.sock"))
    }

    /// Where the file `name` is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn remove_sockets(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_link = name.starts_with("shard-") && name.ends_with(".sock");
            if is_link || OTHER_SOCKETS.contains(&name) {
                fs::remove_file(self.path.join(name))?;
            }
        }
        Ok(())
    }
}

impl Drop for LinkDir {
    fn drop(&mut self) {
        if let Err(error) = self.remove_sockets() {
            tracing::debug!("the link sockets are left behind: {error}");
        }
    }
}

/// Lets only the owner use a link socket.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// The unicast addresses of this machine's interfaces that are up, without IPv6 link-local ones
/// (they mean nothing without an interface name).
pub(crate) fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `list` is valid for writes; on success it owns a list that is freed below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut next = list;
    // SAFETY: `next` is null or an element of the list, which lives until freeifaddrs.
    while let Some(interface) = unsafe { next.as_ref() } {
        next = interface.ifa_next;
        if interface.ifa_flags & libc::IFF_UP as u32 == 0 || interface.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: a non-null ifa_addr points to a sockaddr of the family it states.
        if let Some(address) = unsafe { read_address(interface.ifa_addr) }
            && !is_link_local(address)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    // SAFETY: `list` came from getifaddrs and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(addresses)
}

/// # Safety
/// `address` points to a sockaddr of at least the size that its family calls for.
unsafe fn read_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: by the contract of this function, and the family decides the type.
    unsafe {
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                let address = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(IpAddr::from(address.sin_addr.s_addr.to_ne_bytes()))
            }
            libc::AF_INET6 => {
                let address = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(IpAddr::from(address.sin6_addr.s6_addr))
            }
            _ => None,
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Randomness for a shard's seed, from the kernel.
pub(crate) fn random_seed() -> io::Result<u64> {
    let mut seed = [0_u8; size_of::<u64>()];
    // SAFETY: `seed` is valid for writes of its length, and outlives the call.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    // Reads up to 256 bytes are never cut short (getrandom(2)).
    if got < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(u64::from_ne_bytes(seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_directory_is_held_by_one_only_and_free_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = LinkDir::hold(&path).unwrap();
        let refused = LinkDir::hold(&path).unwrap_err().to_string();
        assert!(
            refused.contains(&std::process::id().to_string()),
            "{refused}"
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        drop(held);
        LinkDir::hold(&path).unwrap();
    }

    #[test]
    fn sockets_of_an_engine_before_are_removed_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["shard-0.sock", "shard-12.sock", "control.sock"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let _held = LinkDir::hold(dir.path()).unwrap();
        assert!(!dir.path().join("shard-0.sock").exists());
        assert!(!dir.path().join("shard-12.sock").exists());
        assert!(dir.path().join("control.sock").exists());
    }

    #[test]
    fn the_loopback_address_is_among_the_local_ones() {
        let addresses = local_addresses().unwrap();
        assert!(
            addresses.contains(&IpAddr::from([127, 0, 0, 1])),
            "{addresses:?}"
        );
    }

    #[test]
    fn this_machine_passes_the_probe() {
        prepare().unwrap();
    }
}
