//! Finds libdpdk, generates the bindings and compiles the wrappers of its inline functions.
//!
//! Everything that a newcomer can get wrong (no libdpdk, too old, no libclang) ends in one sentence that says
//! what to install.

use std::env;
use std::path::PathBuf;
use std::process::{Command, exit};

/// Oldest release with the names and layouts that the bindings rely on.
const MIN_VERSION: &str = "22.11";
const PACKAGES: &str =
    "run `cargo xtask setup`, or on Debian `apt-get install libdpdk-dev dpdk libclang-dev clang libbpf-dev pkg-config`";

/// Functions, types and constants that are bound, as patterns.
const FUNCTIONS: &[&str] = &[
    "rte_eal_.*",
    "rte_openlog_stream",
    "rte_log_.*",
    "rte_strerror",
    "rte_version",
    "rte_get_tsc_.*",
    "rte_rdtsc",
    "rte_lcore_.*",
    "rte_thread_(un)?register",
    "rte_mem_.*",
    "rte_memseg_.*",
    "rte_memzone_.*",
    "rte_extmem_.*",
    "rte_dev_.*",
    "rte_malloc.*",
    "rte_zmalloc.*",
    "rte_free",
    "rte_mempool_.*",
    "rte_pktmbuf_.*",
    "rte_mbuf_.*",
    "rte_eth_.*",
    "rte_flow_.*",
    "rte_vdev_.*",
    "luna_errno",
    "luna_link_is_up",
];

fn fail(sentence: &str) -> ! {
    eprintln!("error: {sentence}");
    exit(1);
}

fn main() {
    println!("cargo::rerun-if-changed=wrapper.h");
    println!("cargo::rerun-if-changed=shim.c");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_LIBDIR");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_SYSROOT_DIR");
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");

    let flags = find_dpdk();
    require_libclang();

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let wrappers = out.join("inline_wrappers");
    generate(&out, &wrappers, &flags);

    let mut build = cc::Build::new();
    for flag in &flags {
        build.flag(flag);
    }
    build
        .file(wrappers.with_extension("c"))
        .file("shim.c")
        .include(".")
        .define("ALLOW_EXPERIMENTAL_API", None)
        .opt_level(2)
        .warnings(false)
        .compile("dpdk_inline_wrappers");
    link();
}

/// The C flags of an acceptable libdpdk.
fn find_dpdk() -> Vec<String> {
    let probe = pkg_config::Config::new().cargo_metadata(false).atleast_version(MIN_VERSION).probe("libdpdk");
    if let Err(error) = probe {
        match error {
            pkg_config::Error::Command { .. } => fail(&format!("pkg-config cannot be run: {PACKAGES}.")),
            _ => {
                fail(&format!("DPDK's development files (libdpdk {MIN_VERSION} or newer) were not found: {PACKAGES}."))
            }
        }
    }
    // The crate's view drops `-include` and `-march`, which the headers need: ask for the flags themselves.
    let pkg_config = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = Command::new(pkg_config).args(["--cflags", "libdpdk"]).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
        }
        _ => fail(&format!("pkg-config cannot print the flags of libdpdk: {PACKAGES}.")),
    }
}

/// bindgen panics at length when libclang is missing: look first.
fn require_libclang() {
    std::panic::set_hook(Box::new(|_| {}));
    let found = std::panic::catch_unwind(|| bindgen::clang_version().full);
    drop(std::panic::take_hook());
    if found.is_err() {
        fail(&format!("libclang, which generates the DPDK bindings, was not found: {PACKAGES}."));
    }
}

fn generate(out: &std::path::Path, wrappers: &std::path::Path, flags: &[String]) {
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(flags)
        .clang_arg("-DALLOW_EXPERIMENTAL_API")
        .wrap_static_fns(true)
        .wrap_static_fns_path(wrappers)
        .allowlist_type("rte_(eal|mem|mbuf|mempool|eth|ether|flow|iova|memzone|memseg|vdev|dev|log|rss|pktmbuf|errno|ring_create|proc).*")
        .allowlist_type("luna_.*")
        .allowlist_var("(RTE|LUNA)_.*")
        .allowlist_var("rte_eth_fp_ops")
        // Layouts that Rust cannot state (packed and aligned at once) and that nothing here looks into.
        .opaque_type("rte_arp_.*")
        .opaque_type("rte_l2tpv2.*")
        .opaque_type("rte_gtp.*")
        .opaque_type("rte_ether_hdr|rte_ipv[46].*|rte_flow_item_.*")
        .blocklist_function("rte_.*_(trace|dump).*")
        .blocklist_function("rte_log_register_type_and_pick_level|rte_vlog|rte_mempool_check_cookies")
        .prepend_enum_name(false)
        .layout_tests(false)
        .derive_default(true)
        .generate_comments(false)
        .size_t_is_usize(true);
    for pattern in FUNCTIONS {
        builder = builder.allowlist_function(pattern);
    }
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(error) => fail(&format!("the DPDK bindings cannot be generated ({error}); {PACKAGES}.")),
    };
    if let Err(error) = bindings.write_to_file(out.join("bindings.rs")) {
        fail(&format!("the DPDK bindings cannot be written: {error}."));
    }
}

/// Links only the libraries that are used; the drivers are plugins, which EAL loads from DPDK's own directory.
fn link() {
    let Ok(library) = pkg_config::Config::new().cargo_metadata(false).probe("libdpdk") else { return };
    for path in library.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    // rte_log became a library of its own in 23.11; the bus driver is not among what pkg-config names.
    for name in ["rte_eal", "rte_log", "rte_ethdev", "rte_mempool", "rte_mbuf", "rte_ring", "rte_kvargs", "rte_net"] {
        if library.libs.iter().any(|lib| lib == name) {
            println!("cargo::rustc-link-lib=dylib={name}");
        }
    }
    println!("cargo::rustc-link-lib=dylib=rte_bus_vdev");
}
