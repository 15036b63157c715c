//! Linux as the other end: all cases, and the goodput table. See [`luna_tests::linux`].

use std::process::ExitCode;

fn main() -> ExitCode {
    luna_tests::linux::main(luna_tests::linux::Scope::All)
}
