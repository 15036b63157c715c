//! Typed configuration to DPDK's argument strings, with everything checked that can be checked before DPDK sees it.

use core::fmt::Write as _;
use std::ffi::CString;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::config::{AfXdp, EalConfig, IovaMode, Memif, MemifRole, Vdev, Vhost, VirtioUser};
use super::error::EalError;

const ZONE_MB: u32 = 2;

/// EAL's argv for `config`, checked.
pub(super) fn eal(config: &EalConfig) -> Result<Vec<String>, EalError> {
    if config.memory_mb < 64 || !config.memory_mb.is_multiple_of(ZONE_MB) {
        return Err(EalError::BadConfig("memory_mb must be an even number of at least 64: DPDK needs room for itself"));
    }
    checked(&config.file_prefix)?;
    if config.iova == IovaMode::Physical && !is_root() {
        return Err(EalError::Permission {
            what: "physical addressing (IovaMode::Physical)",
            capability: "CAP_SYS_ADMIN",
        });
    }
    let allowed = allowed_cpus();
    if let Some(&cpu) = config.cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        return Err(EalError::NoSuchCpu(cpu));
    }
    check_hugepages(config.memory_mb)?;

    let cpus = if config.cpus.is_empty() { &allowed } else { &config.cpus };
    let cpus: Vec<String> = cpus.iter().map(u16::to_string).collect();
    let mut args: Vec<String> = vec![
        "luna".into(),
        "--file-prefix".into(),
        config.file_prefix.clone(),
        "--lcores".into(),
        format!("0@({})", cpus.join(",")),
        "-m".into(),
        config.memory_mb.to_string(),
        // No growth later: memif and virtio_user share with their peer only what was there when they connected.
        "--socket-limit".into(),
        vec![config.memory_mb.to_string(); numa_nodes()].join(","),
        // Hugepages by memfd: nothing in the file system, nothing left behind even after SIGKILL.
        "--in-memory".into(),
        // memif's zero-copy and vhost-user pass one descriptor per segment list.
        "--single-file-segments".into(),
        "--no-telemetry".into(),
        match config.iova {
            IovaMode::Virtual => "--iova-mode=va".into(),
            IovaMode::Physical => "--iova-mode=pa".into(),
        },
    ];
    if !config.pci {
        args.push("--no-pci".into());
    }
    Ok(args)
}

fn numa_nodes() -> usize {
    let nodes = std::fs::read_dir("/sys/devices/system/node").map(|dir| {
        dir.flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse::<usize>().ok())
            .count()
    });
    nodes.unwrap_or(1).max(1)
}

/// The CPUs of the calling thread.
fn allowed_cpus() -> Vec<u16> {
    // SAFETY: an all-zero set is valid, and the kernel fills as much as it is told there is.
    let set = unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return vec![0];
        }
        set
    };
    // SAFETY: the index stays below CPU_SETSIZE.
    (0..libc::CPU_SETSIZE as u16).filter(|&cpu| unsafe { libc::CPU_ISSET(usize::from(cpu), &set) }).collect()
}

pub(super) fn is_root() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

fn check_hugepages(memory_mb: u32) -> Result<(), EalError> {
    let read = |name: &str| {
        std::fs::read_to_string(Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").join(name))
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
            .unwrap_or(0)
    };
    let (free, total) = (read("free_hugepages").saturating_sub(read("resv_hugepages")), read("nr_hugepages"));
    let wanted = u64::from(memory_mb / ZONE_MB);
    if free < wanted {
        return Err(EalError::Hugepages { wanted, free, suggested: total + wanted - free });
    }
    Ok(())
}

/// A string that cannot break out of DPDK's `key=value,key=value`.
fn checked(text: &str) -> Result<&str, EalError> {
    let bad = |c: char| c == ',' || c == '=' || c == '"' || c == '[' || c == ']' || c.is_whitespace() || c.is_control();
    if text.is_empty() || text.contains(bad) {
        return Err(EalError::BadArgument(text.to_owned()));
    }
    Ok(text)
}

fn checked_path(path: &Path) -> Result<&str, EalError> {
    let text = path.to_str().ok_or_else(|| EalError::BadArgument(path.display().to_string()))?;
    // sun_path holds 108 bytes with the terminator.
    if text.len() > 107 {
        return Err(EalError::Socket { path: path.to_owned(), why: "its path is longer than 107 bytes".into() });
    }
    checked(text)
}

/// A device ready for DPDK: its name, its arguments, and the socket that this side listens on.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) args: String,
    pub(super) listens: Option<std::path::PathBuf>,
    /// Kept open while the device is being probed and configured (a patched XDP program has no other name).
    pub(super) program: Option<std::fs::File>,
}

/// DPDK's name and arguments for `vdev`, the `index`th of the process.
pub(super) fn device(vdev: &Vdev, index: usize) -> Result<Device, EalError> {
    match vdev {
        Vdev::AfXdp(port) => af_xdp(port, index),
        Vdev::Memif(port) => memif(port, index),
        Vdev::Vhost(port) => vhost(port, index),
        Vdev::VirtioUser(port) => virtio_user(port, index),
        Vdev::Ring => Ok(plain(format!("net_ring{index}"), String::new())),
        Vdev::Raw { name, args } => Ok(plain(checked(name)?.to_owned(), args.clone())),
    }
}

fn plain(name: String, args: String) -> Device {
    Device { name, args, listens: None, program: None }
}

fn af_xdp(port: &AfXdp, index: usize) -> Result<Device, EalError> {
    let interface = checked(&port.interface)?;
    let c_name = CString::new(interface).map_err(|_| EalError::BadArgument(interface.to_owned()))?;
    // SAFETY: a terminated string.
    let interface_index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
    if interface_index == 0 {
        return Err(EalError::NoInterface(interface.to_owned()));
    }
    if !is_root() {
        return Err(EalError::Permission { what: "AF_XDP", capability: "CAP_NET_ADMIN and CAP_BPF" });
    }
    if super::xdp::is_occupied(interface_index).map_err(EalError::Xdp)? {
        return Err(EalError::XdpOccupied(interface.to_owned()));
    }
    let mut args = format!("iface={interface},start_queue={},queue_count={}", port.start_queue, port.queues.max(1));
    let program = match &port.program {
        Some(path) if !path.is_file() => {
            return Err(EalError::Missing {
                what: "XDP program",
                path: path.clone(),
                hint: "give the path of an object file",
            });
        }
        Some(path) => {
            let _ = write!(args, ",xdp_prog={}", checked_path(path)?);
            None
        }
        None => {
            let (file, path) = super::xdp::program_for(&port.tcp_ports)?;
            let _ = write!(args, ",xdp_prog={path}");
            Some(file)
        }
    };
    Ok(Device { name: format!("net_af_xdp{index}"), args, listens: None, program })
}

fn mac(address: [u8; 6]) -> String {
    let parts: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

fn memif(port: &Memif, index: usize) -> Result<Device, EalError> {
    if !(1..=14).contains(&port.log2_ring) {
        return Err(EalError::BadConfig("a memif ring has between 2^1 and 2^14 slots: change log2_ring"));
    }
    let path = checked_path(&port.socket)?;
    let mut args = format!(
        "socket={path},socket-abstract=no,rsize={},bsize={},mac={}",
        port.log2_ring,
        port.buffer_size,
        mac(port.mac)
    );
    let listens = match port.role {
        MemifRole::Server => {
            args.push_str(",role=server");
            free_listening_path(&port.socket)?;
            Some(port.socket.clone())
        }
        MemifRole::Client => {
            args.push_str(",role=client");
            if port.zero_copy {
                args.push_str(",zero-copy=yes");
            }
            None
        }
    };
    Ok(Device { name: format!("net_memif{index}"), args, listens, program: None })
}

fn vhost(port: &Vhost, index: usize) -> Result<Device, EalError> {
    let path = checked_path(&port.socket)?;
    free_listening_path(&port.socket)?;
    let (tso, iommu) = (u8::from(port.tso), u8::from(port.iommu));
    let args = format!("iface={path},queues={},tso={tso},iommu-support={iommu}", port.queues.max(1));
    Ok(Device { name: format!("net_vhost{index}"), args, listens: Some(port.socket.clone()), program: None })
}

fn virtio_user(port: &VirtioUser, index: usize) -> Result<Device, EalError> {
    let path = checked_path(&port.socket)?;
    if !port.socket.exists() {
        return Err(EalError::Missing {
            what: "vhost-user socket",
            path: port.socket.clone(),
            hint: "start the vhost side first",
        });
    }
    let args = format!(
        "path={path},queues={},packed_vq={},in_order={},mrg_rxbuf={},mac={},queue_size={}",
        port.queues.max(1),
        u8::from(port.packed),
        u8::from(port.in_order),
        u8::from(port.mergeable),
        mac(port.mac),
        port.queue_size,
    );
    Ok(Device { name: format!("virtio_user{index}"), args, listens: None, program: None })
}

/// Removes what a dead listener left at `path`; refuses a live one and anything that is no socket.
fn free_listening_path(path: &Path) -> Result<(), EalError> {
    let refused = |why: &str| EalError::Socket { path: path.to_owned(), why: why.into() };
    match std::fs::symlink_metadata(path) {
        Err(_) => match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() || parent.is_dir() => Ok(()),
            _ => Err(refused("its directory does not exist")),
        },
        Ok(meta) if !meta.file_type().is_socket() => Err(refused("a file that is no socket is in the way")),
        Ok(_) => match super::socket::is_live(path) {
            Ok(true) => Err(refused("another process listens on it")),
            Ok(false) => std::fs::remove_file(path).map_err(|error| refused(&error.to_string())),
            Err(error) => Err(refused(&error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests;
