//! Two network namespaces joined by veth, removed again when dropped.

use std::process::Command;

pub(crate) struct Namespaces {
    pub(crate) names: [String; 2],
}

/// The interface in each namespace.
pub(crate) const INTERFACE: &str = "veth0";

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip (package iproute2) cannot be run");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Namespaces {
    pub(crate) fn new() -> Self {
        let id = std::process::id();
        let this = Self { names: [format!("luna-a{id}"), format!("luna-b{id}")] };
        let [a, b] = &this.names;
        for name in &this.names {
            ip(&["netns", "add", name]);
        }
        ip(&["-n", a, "link", "add", INTERFACE, "type", "veth", "peer", "name", INTERFACE, "netns", b]);
        for (i, name) in this.names.iter().enumerate() {
            ip(&["-n", name, "addr", "add", &format!("10.99.0.{}/24", i + 1), "dev", INTERFACE]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
            ip(&["-n", name, "link", "set", INTERFACE, "up"]);
            let off = [
                "netns", "exec", name, "ethtool", "-K", INTERFACE, "tx", "off", "rx", "off", "tso", "off", "gso",
                "off", "gro", "off",
            ];
            ip(&off);
        }
        this
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}
