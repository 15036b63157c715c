//! The `luna` command: arguments in, words or JSON out. Everything else is in the library.

mod args;
mod error;
mod knbench;
mod limit;
mod progress;
mod serve;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let result = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Knbench(args) => knbench::run(&args),
        Command::Put(args) => transfer::put(&args),
        Command::Get(args) => transfer::get(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("luna: {e}");
            e.code()
        }
    }
}
