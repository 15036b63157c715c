//! With feature `dpdk`: compiles the XDP traffic split, which the library carries inside.

use std::env;
use std::path::PathBuf;
use std::process::{Command, exit};

const SOURCE: &str = "xdp/luna_split.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_SYSROOT_DIR");
    if env::var_os("CARGO_FEATURE_DPDK").is_none() {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("luna_split.bpf.o");
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    // Debian keeps asm/types.h by architecture, where `-target bpf` does not look; for another machine in its sysroot.
    let sysroot = env::var("PKG_CONFIG_SYSROOT_DIR").unwrap_or_default();
    let include = format!("-I{sysroot}/usr/include/{arch}-linux-gnu");
    let result = Command::new(clang)
        .args(["-O2", "-g", "-target", "bpf", "-Wall", "-Werror", &include, "-c", SOURCE, "-o"])
        .arg(&out)
        .output();
    match result {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            eprintln!(
                "error: the XDP program does not compile: run `cargo xtask setup`, or on Debian `apt-get install clang \
                 libbpf-dev linux-libc-dev`."
            );
            exit(1);
        }
        Err(_) => {
            eprintln!(
                "error: clang, which compiles the XDP program, was not found: run `cargo xtask setup`, or on Debian \
                 `apt-get install clang libbpf-dev`."
            );
            exit(1);
        }
    }
}
