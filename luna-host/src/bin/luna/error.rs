//! What ends the command otherwise than well.

use std::process::ExitCode;

use luna_host::client::ClientError;
use luna_host::open::OpenError;

/// One sentence for people, and the exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The arguments do not go together.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Driver(#[from] luna_host::link::DriverError),
    #[error(transparent)]
    Limit(#[from] luna_host::limit::LimitError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl CliError {
    /// 2 for wrong usage, as clap has it; 1 for everything else.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            _ => ExitCode::from(1),
        }
    }
}
