//! A program without `std` and without an allocator that links all of luna-core and runs a bit of it.
//!
//! rustc refuses to link a program whose crates need `alloc` when no allocator is given, so building this is the proof;
//! running it shows that what was linked works. Built with `--profile no-alloc` (`panic = "abort"`): a program without
//! std cannot unwind, so in other profiles it is an empty one.
#![cfg_attr(panic = "abort", no_std)]
#![cfg_attr(panic = "abort", no_main)]

#[cfg(panic = "abort")]
mod freestanding;

#[cfg(not(panic = "abort"))]
fn main() {
    std::eprintln!("this program means something in the profile `no-alloc` only");
    std::process::exit(1);
}
