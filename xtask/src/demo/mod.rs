//! demo
use anyhow::Result;
use std::process::ExitCode;
#[derive(clap::Args)]
pub(crate) struct Args {}
pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    let _p = crate::setup::prepare(true)?;
    let p = crate::netns::VethPair::make()?;
    std::thread::sleep(std::time::Duration::from_secs(30));
    drop(p);
    Ok(ExitCode::SUCCESS)
}
