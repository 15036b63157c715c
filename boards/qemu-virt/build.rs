//! Hands the linker scripts over: aarch64-rt's layout, this board's memory.

fn main() {
    println!("cargo::rerun-if-changed=memory.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Timage.ld");
        println!("cargo::rustc-link-arg-bins=-T{here}/memory.ld");
        // Else the page table, in the middle of smaller things, costs up to a page of nothing.
        println!("cargo::rustc-link-arg-bins=--sort-section=alignment");
        if std::env::var_os("CARGO_FEATURE_DEFMT").is_some() {
            println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
        }
    }
}
